"""return: the old master comes back as backup, and nothing moves back to it."""

from __future__ import annotations

import time

from lab.demo.lab import Lab
from lab.demo.restore import is_well
from lab.demo.scenario import Played, Scenario
from lab.demo.verdicts import Verdict

WATCH_SECONDS = 4.0
"""Longer than an election takes: an old master that pulled mastership back would have done so."""


def play(lab: Lab) -> Played:
    """Kill the owner, let a peer take over, then start the old owner's instance again."""
    old = lab.owner
    lab.cloud.crash(lab.nodes[old])
    lab.wait(f"nothing is mounted on {old}", lambda: not lab.mounted(old), 10)
    lab.await_settled()
    new = lab.owner
    fault_at = time.monotonic()
    lab.start_instance(old)
    lab.await_power(old, "running")
    lab.wait(f"{old} is well again", lambda: is_well(lab, old), 30)
    back = f"{old} runs again, with keepalived and agent, and {new} serves"
    proof = lab.prove(back, lab.owner == new)
    time.sleep(WATCH_SECONDS)
    moved = [] if lab.owner == new else [f"{lab.owner} serves since {old} came back"]
    stays = Verdict("stays", f"{new} keeps what it took over", 1, tuple(moved))
    return Played(fault_at, new, (proof,), (stays,))


SCENARIO = Scenario("return", "the old master comes back as backup", play)
