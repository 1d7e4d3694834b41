"""What an unfinished hand-over itself calls for, before any claim is looked at. Pure.

An epoch whose owner cannot finish it must not stay where it is: it goes to an able claimant, else
to the last owner, else to anybody able, so that resources are never left with nobody while somebody
could serve. Damage to the data is the exception: it blocks instead of touring the nodes.
"""

from __future__ import annotations

from chalicelib import timing
from chalicelib.facts import Facts
from chalicelib.model import Attached, Code, Reason, Verb
from chalicelib.rulings import Block, Grant, Ruling


def rule(facts: Facts, owner: str) -> Ruling | None:
    """What an unfinished hand-over itself calls for, before any claim is looked at."""
    for node in facts.unclear():
        if node != owner and facts.is_overdue(node) and _defies(facts, node):
            return Grant(node, f"{node} is master and serves: the claim is refused", spare=True)
    asked = facts.record.asked(owner, Verb.ACQUIRE)
    if facts.seen.power(owner).is_off:
        return _replace(facts, owner)  # even from damage: one that is off will not look again
    if asked and asked.answer and asked.answer.code is Code.DAMAGED and _failed(facts, owner):
        if facts.is_able(owner):
            return Grant(owner, "another look at damaged data")
        return Block(Reason.DAMAGED, f"{owner} says: {asked.answer.text or 'data is damaged'}")
    if is_unfit(facts, owner):
        return _replace(facts, owner)
    return adrift(facts, owner)


def _defies(facts: Facts, node: str) -> bool:
    """Whether a holder about to be fenced has said since that it is master, and serves.

    It is spared once: one that then leaves its own epoch unfinished would be spared for ever.
    """
    is_new = not facts.record.seat(node).spared and facts.fence_intent(node) is None
    return is_new and facts.claims(node) and facts.serves(node)


def is_unfit(facts: Facts, node: str) -> bool:
    """Whether the owner of an unfinished epoch cannot finish it: off, silent, or it failed."""
    gone = facts.seen.power(node).is_off or facts.is_leaving(node)
    silent = facts.record.seat(node).silent_since is not None
    return gone or silent or _failed(facts, node)


def _failed(facts: Facts, node: str) -> bool:
    failed_at = facts.record.seat(node).failed_at
    return failed_at is not None and failed_at >= facts.record.granted_at


def _replace(facts: Facts, owner: str) -> Ruling:
    """An epoch whose owner cannot finish it goes to somebody who can, else nobody moves."""
    others = [node for node in facts.cluster.nodes if node != owner and facts.is_able(node)]
    claiming = [node for node in facts.claimants() if node in others]
    last = [node for node in others if node == facts.record.previous]
    rest = sorted(others, key=lambda node: (not facts.is_backup(node), facts.rank(node)))
    again = [owner] if facts.is_able(owner) else []
    for node in (*claiming, *last, *rest, *again):
        because = f"{owner} could not finish epoch {facts.record.epoch}"
        return Grant(node, because, mend=_half_attached(facts, node))
    return Block(Reason.CANNOT_ACQUIRE, f"{owner} cannot finish, and no other node is able")


def _half_attached(facts: Facts, node: str) -> tuple[str, ...]:
    """Volumes whose attachment to this node has not come to an end: it is begun anew."""
    return tuple(
        view.volume
        for view in facts.seen.volumes
        for at in view.attachments
        if at.node == node and at.state is Attached.ATTACHING
    )


def adrift(facts: Facts, owner: str) -> Grant | None:
    """A resource has left the owner, and the observation lasts: a new epoch mends it."""
    since = facts.record.adrift_since
    if since is None or facts.now - since < timing.ADRIFT_SECONDS or not facts.is_able(owner):
        return None
    away = tuple(v for v in facts.cluster.volumes if not facts.is_at(v, owner))
    return Grant(owner, "a resource has left it", mend=away)
