"""partition: VRRP is cut and two nodes claim. The incumbent keeps the volumes while it lasts.

Afterwards keepalived settles on the higher priority, whoever it is: once that is the incumbent, and
once it is the other, which says nothing new when it wins (keepalived tells only the loser's change).
"""

from __future__ import annotations

import time

from lab.demo import plan
from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario
from lab.demo.trouble import NotSeen
from lab.demo.verdicts import Verdict

CUT_SECONDS = 4.0
"""Long enough for a challenge to be asked and answered."""
ELECTION_SECONDS = 30.0
CUTS_MOST = 5


def cut(lab: Lab, name: str) -> None:
    """Nobody hears VRRP of this node any more, nor it of anybody; all else goes through."""
    lab.host(name).drop_vrrp()
    for other in lab.others(name):
        lab.host(other).drop_vrrp(lab.host(name))


def heal(lab: Lab, name: str) -> None:
    """Undo the cut."""
    lab.host(name).hear_vrrp()
    for other in lab.others(name):
        lab.host(other).hear_vrrp(lab.host(name))


def partition(lab: Lab, owner: str) -> tuple[str, str, Verdict]:
    """Cut, hold, heal: who else claimed, who is MASTER afterwards, and whether the owner kept all."""
    begin = time.monotonic()
    cut(lab, owner)
    try:
        lab.wait("two nodes are MASTER", lambda: len(lab.masters()) == 2, ELECTION_SECONDS)
        claimant = next(name for name in lab.masters() if name != owner)
        time.sleep(CUT_SECONDS)
        # Behind the cut a busy machine may elect anew: the last claimant counts.
        lab.wait("two nodes are still MASTER", lambda: len(lab.masters()) == 2, ELECTION_SECONDS)
        keeps = kept(lab, owner, begin)
    finally:
        heal(lab, owner)
    lab.wait("one node is MASTER again", lambda: len(lab.masters()) == 1, ELECTION_SECONDS)
    return claimant, lab.masters()[0], keeps


def kept(lab: Lab, owner: str, since: float) -> Verdict:
    """Whether the owner had everything mounted, and the address, the whole time."""
    seen = lab.evidence(since)
    lost = [
        f"{seen.moment(look.at)} {owner} did not have {volume} mounted"
        for look in seen.looks
        for volume in seen.volumes
        if owner not in look.nodes(volume, live=True)
    ]
    lost += [
        f"{seen.moment(record.at)} the address was on {record.holder.get(plan.ADDRESS)}"
        for record in seen.records
        if record.holder.get(plan.ADDRESS) != owner
    ]
    return Verdict("stays", "the incumbent keeps all while both claim", len(seen.looks), tuple(lost[:3]))


def play_incumbent(lab: Lab) -> Played:
    """The owner has the highest priority, so it wins when the partition heals."""
    owner = next(iter(lab.nodes))
    lab.make_owner(owner)
    fault_at = time.monotonic()
    claimant, winner, keeps = partition(lab, owner)
    proofs = (
        f"{owner} and {claimant} were MASTER at once for {CUT_SECONDS:g} s",
        lab.prove(f"healed, {winner} alone is MASTER, which is the incumbent", winner == owner),
    )
    return Played(fault_at, owner, proofs, (keeps,))


def play_other(lab: Lab) -> Played:
    """The claimant has a higher priority than the owner, so it wins when the partition heals."""
    if lab.owner == next(iter(lab.nodes)):
        lab.make_owner(list(lab.nodes)[1])
    owner = lab.owner
    for _ in range(CUTS_MOST):
        fault_at = time.monotonic()
        claimant, winner, keeps = partition(lab, owner)
        if winner != owner:
            proofs = (
                f"{owner} and {claimant} were MASTER at once for {CUT_SECONDS:g} s",
                f"healed, {winner} alone is MASTER, which is the other",
            )
            return Played(fault_at, owner, proofs, (keeps,))
        # On a busy machine the lowest of three may be elected behind the cut: the owner wins then.
        lab.await_settled()
    raise NotSeen(f"in {CUTS_MOST} partitions {owner} won each time, of which it should lose the first")


INCUMBENT = Scenario("partition-incumbent", "VRRP is cut, then heals; the incumbent wins", play_incumbent)
OTHER = Scenario("partition-other", "VRRP is cut, then heals; the other wins", play_other)
