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

from dataclasses import dataclass

from chalicelib import contest, granting, notices, timing, unfinished
from chalicelib.facts import Facts
from chalicelib.model import Reason, Word
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
    if facts.cluster.paused and not _is_begun(facts):
        return Keep("paused")
    rivals = tuple(n for n in facts.claimants() if n != owner and not facts.seen.power(n).is_off)
    if owner is None:
        return _first(facts, rivals)
    if not record.settled and (ruling := unfinished.rule(facts, owner)):
        return ruling
    if not facts.claims(owner) or facts.is_leaving(owner):
        ruling = _yielded(facts, owner, rivals)
    elif rivals:
        ruling = contest.rule(facts, owner, rivals)
    else:
        ruling = _renewed(facts, owner)
    if isinstance(ruling, Keep) and not ruling.refuse and not contest.is_open(record):
        return unfinished.adrift(facts, owner) or _overtake(facts, owner) or ruling
    return ruling


def _is_begun(facts: Facts) -> bool:
    """Whether a hand-over is under way: not settled, or the owner released for a challenge of ours."""
    record, owner = facts.record, facts.record.owner
    if owner is None or not record.settled:
        return owner is not None
    word = record.word(owner)
    return word is not None and word.highest > record.epoch and facts.is_released(owner)


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
        return Grant(able[0], f"{able[0]} claims, {owner} {_why_not(facts, owner)}")
    if not rivals:
        return _vacated(facts, owner) or Keep("nobody claims")
    if facts.is_able(owner) and facts.record.settled and facts.is_released(owner):
        return Grant(owner, f"no claimant is able, and {owner} has released")
    return Block(Reason.NO_CLAIMANT_ABLE, f"{rivals[0]} claims, but is not able")


def _why_not(facts: Facts, owner: str) -> str:
    if facts.is_leaving(owner):
        return f"is {facts.seen.power(owner).value}"
    notice = notices.standing(facts, owner) if notices.is_warned(facts, owner) else None
    return f"does not, before its {notice.cause.text}" if notice else "does not"


def _vacated(facts: Facts, owner: str) -> Grant | None:
    """An owner that EC2 stops and that holds nothing: whoever keepalived is about to elect."""
    if not (facts.is_leaving(owner) or facts.is_off(owner)) or not facts.is_clear(owner):
        return None
    backups = [n for n in facts.cluster.nodes if n != owner and facts.is_able(n) and facts.is_backup(n)]
    if not backups or not facts.record.settled:
        return None
    because = f"{owner} is {facts.seen.power(owner).value}, and serves nothing"
    return Grant(min(backups, key=facts.rank), because)


def _renewed(facts: Facts, owner: str) -> Ruling:
    """The owner alone claims: it stays, in a new epoch if it does not serve this one."""
    record, word = facts.record, facts.record.word(owner)
    if record.settled and word is not None and word.serving != record.epoch:
        if facts.is_able(owner):
            return Grant(owner, f"{owner} claims, but does not serve epoch {record.epoch}")
        return Block(Reason.NO_CLAIMANT_ABLE, f"{owner} serves nothing and is not able")
    return Keep("the owner claims, and nobody else does")


def _overtake(facts: Facts, owner: str) -> Grant | Block | None:
    """A node that must act in this unfinished epoch would refuse it as older."""
    record = facts.record
    if record.settled:
        return None
    words = [word for node in (*facts.unclear(), owner) if (word := record.word(node)) is not None]
    ahead = {word.node: word.highest for word in words if word.highest > record.epoch}
    ahead |= {w.node: w.released for w in words if w.node == owner and w.released >= record.epoch}
    for node, epoch in ahead.items():
        if granting.is_absurd(record, epoch):
            text = f"{node} says that it executed epoch {epoch}: `node.py reset` there, if that is wrong"
            return Block(Reason.ABSURD_EPOCH, text)
    return Grant(owner, "a node would refuse this epoch as older") if ahead else None
