"""double: the new owner dies in the middle of the hand-over; a third node ends up with all four volumes."""

from __future__ import annotations

import time

from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario

BEGUN_SECONDS = 60.0


def play(lab: Lab) -> Played:
    """Stop keepalived on the owner; kill the claimant as soon as a volume is on its way to it."""
    old = lab.owner
    fault_at = time.monotonic()
    lab.host(old).keepalived_stop()

    def claimant() -> str | None:
        places = {lab.record.place(volume) for volume in lab.volumes} - {None, old}
        return next(iter(places), None)

    lab.wait("a volume is on its way to another node", claimant, BEGUN_SECONDS, poll=0.005)
    second = claimant() or ""
    lab.cloud.crash(lab.nodes[second])
    served = all(second in lab.look.nodes(volume) for volume in lab.volumes)
    proofs = (
        f"EC2 had a volume on its way to {second} when {second} was killed",
        lab.prove(f"EC2 says that {second} is stopped", lab.record.is_off(second)),
        lab.prove(f"{second} had not mounted everything", not served),
    )
    return Played(fault_at, old, proofs)


SCENARIO = Scenario("double", "the new owner dies in the middle of the hand-over", play)
