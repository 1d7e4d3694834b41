"""Who owns a cluster's resources: the rule, and nothing else. Pure.

Theory of operation
-------------------
*Guarantee.* The ruling depends on the nodes' latest words, the record and the observation, never
on the order in which words came in. A node's older word never overrides its newer one. An owner
never changes within an epoch; each ruling that moves anything is a new epoch, granted once. A
node that may still be serving loses ownership only if it stopped claiming, if EC2 says that it is
off, or if it was asked by a challenge and did not say that it is still master.

*Assumptions.* A node's sequence only grows. EC2's `stopped` and `terminated` are true when said.
A node that is asked `release --unless-master` asks keepalived itself.

*Not guaranteed.* A master whose agent hangs while its words are cut off as well looks like a dead
one, and is taken for it after `challenge_seconds`: the price of acting in seconds.

    owner claims   rival claims   ruling
    ------------   ------------   ----------------------------------------------------------
    yes            no             keep; a new epoch for it if it does not serve this one
    no             yes            a new epoch for the best rival that is able; else blocked
    no             no             keep: running is better than not running
    yes            yes            contested: off by EC2's word, or challenged (see contest.py)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalicelib import contest, timing, unfinished
from chalicelib.facts import Facts
from chalicelib.model import Reason, Record, Word
from chalicelib.rulings import Block, Grant, Keep, Ruling


@dataclass(frozen=True, slots=True)
class Accepted:
    """The word counts and replaces the node's former one; `ahead`: its clock is far ahead."""

    word: Word
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Ignored:
    """The word changes nothing, for this reason."""

    reason: str


def accept(last: Word | None, word: Word, now: float) -> Accepted | Ignored:
    """Whether a node's word counts: only one that is newer than its last, by its own sequence."""
    if last is not None and word.sequence <= last.sequence:
        return Ignored("not newer than the node's last word")
    return Accepted(word, ahead=word.said_at > now + timing.AHEAD_SECONDS)


def rule(facts: Facts) -> Ruling:
    """Who owns from now on, and why."""
    record, owner = facts.record, facts.record.owner
    if facts.cluster.paused and (owner is None or record.settled):
        return Keep("paused")
    rivals = tuple(n for n in facts.claimants() if n != owner and not facts.seen.power(n).is_off)
    if owner is None:
        return _first(facts, rivals)
    if not record.settled and (ruling := unfinished.rule(facts, owner)):
        return ruling
    if not facts.claims(owner):
        ruling = _yielded(facts, owner, rivals)
    elif rivals:
        ruling = contest.rule(facts, owner, rivals)
    else:
        ruling = _renewed(facts, owner)
    if isinstance(ruling, Keep) and not ruling.refuse and _is_ahead(facts):
        return Grant(owner, "a node would refuse this epoch as older")
    return ruling


def _first(facts: Facts, rivals: tuple[str, ...]) -> Ruling:
    """The first epoch adopts the resources for the best claimant that is able."""
    if not rivals:
        return Keep("nobody has claimed yet")
    able = [node for node in rivals if facts.is_able(node)]
    if able:
        return Grant(able[0], "the first epoch: it claims")
    return Block(Reason.NO_CLAIMANT_ABLE, f"{rivals[0]} claims, but is not able")


def _yielded(facts: Facts, owner: str, rivals: tuple[str, ...]) -> Ruling:
    """The owner does not claim."""
    able = [node for node in rivals if facts.is_able(node)]
    if able:
        return Grant(able[0], f"{able[0]} claims, {owner} does not")
    if not rivals:
        return Keep("nobody claims")
    if facts.is_able(owner) and facts.record.settled and facts.is_released(owner):
        return Grant(owner, f"no claimant is able, and {owner} has released")
    return Block(Reason.NO_CLAIMANT_ABLE, f"{rivals[0]} claims, but is not able")


def _renewed(facts: Facts, owner: str) -> Ruling:
    """The owner alone claims: it stays, in a new epoch if it does not serve this one."""
    record, word = facts.record, facts.record.word(owner)
    if record.settled and word is not None and word.serving != record.epoch:
        if facts.is_able(owner):
            return Grant(owner, f"{owner} claims, but does not serve epoch {record.epoch}")
        return Block(Reason.NO_CLAIMANT_ABLE, f"{owner} serves nothing and is not able")
    return unfinished.adrift(facts, owner) or Keep("the owner claims, and nobody else does")


def _is_ahead(facts: Facts) -> bool:
    """Whether a node that must act in this unfinished epoch would refuse it as older."""
    record, owner = facts.record, facts.record.word(facts.record.owner or "")
    if record.settled or contest.is_open(record):
        return False
    words = [record.word(node) for node in facts.unclear()] + [owner]
    ahead = any(word is not None and word.highest > record.epoch for word in words)
    return ahead or (owner is not None and owner.released >= record.epoch)


def grant(facts: Facts, ruling: Grant) -> Record:
    """The record of the new epoch. Words that it was decided against are spent."""
    record, challenge = facts.record, facts.record.challenge
    epoch = record.highest_issued + 1
    for node in facts.claimants():
        word = record.word(node)
        if node != ruling.node and word is not None:
            record = record.with_seat(replace(record.seat(node), spent=word.sequence))
    seat = record.seat(ruling.node)
    record = record.with_seat(replace(seat, silent_since=None, spared=seat.spared or ruling.spare))
    is_challenge = challenge is not None and challenge.claimant == ruling.node
    counted_from = facts.now
    if challenge is not None and is_challenge and contest.is_open(record):
        counted_from = challenge.at
    return replace(
        record,
        epoch=epoch,
        highest_issued=epoch,
        owner=ruling.node,
        previous=record.owner if record.settled else record.previous,
        settled=False,
        granted_at=facts.now,
        counted_from=counted_from,
        because=ruling.because,
        mend=ruling.mend,
        adrift_since=None,
        challenge=None,
        obstacle=None,
        marks=(("granted", facts.now),),
    )
