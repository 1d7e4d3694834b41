"""What AWS announced of nodes, as far as it still stands: who has no future as an owner. Pure."""

from __future__ import annotations

from chalicelib import timing
from chalicelib.facts import Facts
from chalicelib.model import Notice


def standing(facts: Facts, node: str) -> Notice | None:
    """The soonest that is announced for this node in its present boot; None if nothing is."""
    mine = [n for n in facts.record.notices if n.node == node and _stands(facts, n)]
    return min(mine, key=lambda notice: notice.at, default=None)


def _stands(facts: Facts, notice: Notice) -> bool:
    word = facts.record.word(notice.node)
    is_past = facts.now >= notice.until + timing.NOTICE_KEPT_SECONDS
    was_given_to_another_boot = word is not None and notice.boot not in ("", word.boot)
    return not (notice.over or is_past or was_given_to_another_boot)


def is_warned(facts: Facts, node: str) -> bool:
    """Whether the node goes so soon that it should not own anything any more."""
    notice = standing(facts, node)
    return notice is not None and facts.now >= notice.at - timing.NOTICE_SECONDS


def heir(facts: Facts, owner: str) -> str | None:
    """The node that keepalived elects if this owner steps back, if it is one that stays.

    Nobody if that one is about to go as well: two that are warned would hand over to each other
    until both are gone, and each time is an outage.
    """
    others = (node for node in facts.cluster.nodes if node != owner)
    ready = [node for node in others if facts.is_able(node) and facts.is_backup(node)]
    elected = min(ready, key=facts.rank, default=None)
    return None if elected is None or is_warned(facts, elected) else elected
