"""Which words change nothing, so that nobody has to look at EC2 for them. Pure.

Every node repeats itself four times a minute. To observe for each repetition would cost a fleet of
a hundred clusters five times the Describes that EC2 allows an account; the sweep looks at every
cluster each minute anyway.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib.model import Record, Vrrp, Word


def is_repetition(record: Record, last: Word | None, word: Word) -> bool:
    """Whether this word says nothing new of a cluster that is where it should be.

    A word of a node that claims but does not own is never one: it renews a claim that was spent.
    """
    if last is None or replace(last, sequence=word.sequence) != word:
        return False
    if not record.settled or record.obstacle is not None or record.challenge is not None:
        return False
    if word.node == record.owner:
        return word.state is Vrrp.MASTER and word.serving == record.epoch
    return word.state is not Vrrp.MASTER and word.serving is None
