"""A new epoch: its number, and what the record holds of it at the beginning. Pure."""

from __future__ import annotations

from dataclasses import replace

from chalicelib import contest
from chalicelib.facts import Facts
from chalicelib.model import Record
from chalicelib.rulings import Grant

LEAP_MOST = 100_000
"""A member that has executed epochs so far above ours is believed: the table was lost, or restored
from a backup. Further above is a mistake or a lie, which must not carry the epochs away."""


def is_absurd(record: Record, epoch: int) -> bool:
    """Whether a node says that it executed an epoch that Baton cannot have issued."""
    return epoch > record.highest_issued + LEAP_MOST


def next_epoch(record: Record) -> int:
    """One more than the highest ever put into a command, as far as anybody remembers."""
    heard = [word for node in record.words if (word := record.word(node.node)) is not None]
    known = [max(w.highest, w.released) for w in heard]
    return 1 + max([record.highest_issued, *(e for e in known if not is_absurd(record, e))])


def grant(facts: Facts, ruling: Grant) -> Record:
    """The record of the new epoch. Words that it was decided against are spent."""
    record, challenge = facts.record, facts.record.challenge
    epoch = next_epoch(record)
    record = _carried(facts, epoch)
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
        mend=ruling.mend or _lost(facts, ruling.node),
        adrift_since=None,
        challenge=None,
        obstacle=None,
        marks=(("granted", facts.now),),
    )


def _lost(facts: Facts, node: str) -> tuple[str, ...]:
    """Volumes that this node says it has mounted and does not have: it lets go of them first."""
    if not facts.serves(node) or not facts.sees_all():
        return ()
    return tuple(v for v in facts.cluster.volumes if not facts.is_at(v, node))


def _carried(facts: Facts, epoch: int) -> Record:
    """The record in which what people confirmed of nodes counts in the new epoch too."""
    record = facts.record
    for seat in record.seats:
        if facts.is_confirmed(seat.node):
            record = record.with_seat(replace(seat, confirmed=epoch))
    return record
