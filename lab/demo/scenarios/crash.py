"""crash: the owner's host loses power, and EC2 says so."""

from __future__ import annotations

import time

from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario


def play(lab: Lab) -> Played:
    """Pull the plug: devices yanked, everything killed, what was not fsynced is lost."""
    old = lab.owner
    fault_at = time.monotonic()
    lab.cloud.crash(lab.nodes[old])
    proofs = (
        lab.prove(f"no process of {old} is left", not lab.host(old).processes()),
        lab.prove(f"EC2 says that {old} is stopped", lab.record.is_off(old)),
    )
    lab.wait(f"nothing is mounted on {old}", lambda: not lab.mounted(old), 10)
    return Played(fault_at, old, proofs)


SCENARIO = Scenario("crash", "the owner's host is killed", play)
