"""manual: a person moves the cluster with the documented `aws ssm send-command`."""

from __future__ import annotations

import time

from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario

ELECTION_SECONDS = 30.0


def play(lab: Lab) -> Played:
    """Tell the owner to hand over; its keepalived goes to FAULT and a peer is elected."""
    old = lab.owner
    fault_at = time.monotonic()
    command = lab.hand_over(old, lab.others(old)[0])
    lab.wait(f"{old} gives the address up", lambda: old not in lab.masters(), ELECTION_SECONDS)
    lab.wait("a peer is MASTER", lambda: lab.masters() and old not in lab.masters(), ELECTION_SECONDS)
    lab.await_settled()
    lab.wait("the command ends", lambda: lab.command_status(command) == "Success", ELECTION_SECONDS)
    proofs = (
        f"{old}'s kernel dropped the address, and {lab.masters()[0]} has it",
        "SSM says Success of the command",
    )
    return Played(fault_at, old, proofs)


SCENARIO = Scenario("manual", "a person sends the document to the owner", play)
