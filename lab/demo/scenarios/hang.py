"""hang: the owner's host freezes, EC2 says running; it is fenced, and thawed before it is off."""

from __future__ import annotations

import time

from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario

FENCE_SECONDS = 60.0
"""Election, challenge, Stop: about ten seconds; a challenge without a fresh word takes longer."""


def frozen(lab: Lab, name: str) -> bool:
    """Whether every process of a host is stopped, by /proc."""
    states = {process.state for process in lab.host(name).processes()}
    return bool(states) and states <= {"T", "Z"}


def was_off(lab: Lab, name: str, since: float) -> bool:
    """Whether EC2 has said since a moment that a node is off; it may have started it again."""
    return any(record.is_off(name) for record in lab.witness.records(since))


def play(lab: Lab) -> Played:
    """Freeze it as a hypervisor that does not run it; thaw it while EC2 is stopping it."""
    old = lab.owner
    fault_at = time.monotonic()
    lab.host(old).freeze()
    proofs = [
        lab.prove(f"all processes of {old} are stopped", frozen(lab, old)),
        lab.prove(f"EC2 says that {old} is running", lab.record.power[old] == "running"),
    ]
    lab.wait(
        f"StopInstances is called for {old}", lambda: lab.calls("StopInstances", old, fault_at), FENCE_SECONDS
    )
    proofs.append(f"StopInstances was called for {old}")
    if frozen(lab, old):
        lab.host(old).thaw()
        proofs.append(f"{old} was thawed while EC2 was stopping it")
    lab.wait(f"EC2 has stopped {old}", lambda: was_off(lab, old, fault_at), 60)
    return Played(fault_at, old, tuple(proofs))


SCENARIO = Scenario("hang", "the owner's host freezes, is fenced, and thaws too late", play)
