"""stuck: StopInstances stays in `stopping`. Blocked and alarmed, until a person sees to it."""

from __future__ import annotations

import subprocess
import sys
import time

from lab.demo import plan
from lab.demo.broken import CHECKOUT
from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario
from lab.demo.scenarios.hang import FENCE_SECONDS, frozen
from lab.demo.trouble import NoFault
from lab.demo.verdicts import Verdict

BLOCKED_SECONDS = 60.0
COMMAND_SECONDS = 30.0


def confirm_fenced(instance: str) -> None:
    """The person's command, who types the instance's id again."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "confirm-fenced", "--stage", plan.STAGE, instance],
        cwd=CHECKOUT,
        input=f"{instance}\n",
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        raise NoFault(f"`./baton confirm-fenced` failed: {done.stdout}{done.stderr}")


def play(lab: Lab) -> Played:
    """Freeze the owner, let its stop hang, pull the plug by hand, and confirm it."""
    old = lab.owner
    instance = lab.nodes[old]
    fault_at = time.monotonic()
    lab.cloud.faults.stick("stop", instance)
    try:
        lab.host(old).freeze()
        still = lab.prove(f"all processes of {old} are stopped", frozen(lab, old))
        lab.wait(
            f"StopInstances is called for {old}",
            lambda: lab.calls("StopInstances", old, fault_at),
            FENCE_SECONDS,
        )
        lab.wait("the blocked cluster raises its alarm", lambda: lab.alarmed(fault_at), BLOCKED_SECONDS)
        proofs = [
            still,
            lab.prove(f"EC2 leaves {old} in stopping", lab.record.power[old] == "stopping"),
            "the metric Blocked was emitted, which raises the alarm",
        ]
        moved = [v for v in lab.volumes if lab.record.place(v) != old]
        waits = Verdict("waits", "nothing is taken from a node that is not off", 1, tuple(moved))
        lab.host(old).power_off()
        confirm_fenced(instance)
        proofs.append(f"a person pulled {old}'s plug and confirmed it")
        lab.await_settled(must=False)
    finally:
        lab.cloud.faults.unstick("stop", instance)
    return Played(fault_at, old, tuple(proofs), (waits,))


SCENARIO = Scenario("stuck", "StopInstances stays in stopping, until a person confirms", play)
