"""planned: keepalived is stopped on the owner."""

from __future__ import annotations

import time

from lab.demo import plan
from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario


def play(lab: Lab) -> Played:
    """Stop keepalived in order; a peer takes over."""
    old = lab.owner
    host = lab.host(old)
    fault_at = time.monotonic()
    host.keepalived_stop()
    gone = not any(process.name == "keepalived" for process in host.processes())
    proofs = (lab.prove(f"no keepalived runs on {old} any more", gone),)
    lab.wait(
        f"another node than {old} has {plan.ADDRESS}",
        lambda: set(lab.look.masters(plan.ADDRESS)) - {old},
        10,
    )
    return Played(fault_at, old, proofs)


SCENARIO = Scenario("planned", "keepalived is stopped on the owner", play)
