"""What of a record still matters: the rest is history, which no decision of the core depends on.

An exploration comes to the same world by different roads: an answer was seen half a second later, or
the driver died before it noted an outcome that nobody needs any more. Each rule here names who would
read what it forgets. A test lets random worlds go on with it and without it, and compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from chalicelib import timing
from chalicelib.model import (
    Asked,
    Code,
    Fence,
    Intent,
    Outcome,
    Record,
    Result,
    Seat,
    Start,
    Verb,
    Vrrp,
    Word,
)
from chalicelib.steps import DEVICE_TAKEN, FENCE_BUDGET

CODES = (DEVICE_TAKEN, FENCE_BUDGET)
"""Codes that a step looks at; others are for people, beside a call that EC2 refused."""

RARE_SECONDS = 4 * timing.POLL_MOST_SECONDS
"""An epoch that is older is looked at as rarely as any, if it is settled (see `decide._poll`)."""

A_MOMENT = 0.001
"""Seconds: less than lies between two moments of a world."""


def essence(record: Record, now: float, *, by_force: bool = False) -> Record:
    """The record that stands for all those with which the core does the same from now on.

    `by_force`: the cluster's policy lets volumes be detached by force.
    """
    is_over = record.settled and not by_force  # what is taken by force is asked about for ever
    record = replace(
        record,
        because="",  # for people
        granted_at=0.0 if is_over and now >= record.granted_at + RARE_SECONDS else record.granted_at,
        counted_from=0.0 if is_over else record.counted_from,
        challenge=record.challenge and replace(record.challenge, claim=0),  # for people
        intents=tuple(_intent(record, intent, now) for intent in record.intents),
    )
    record = replace(record, seats=tuple(_seat(record, seat, is_over) for seat in record.seats))
    return replace(record, seats=tuple(_answered_seat(record, seat, now) for seat in record.seats))


# ------------------------------------------------------------------------------------ seats


def _seat(record: Record, seat: Seat, is_over: bool) -> Seat:
    last = next((word for word in record.words if word.node == seat.node), None)
    newest = record.word(seat.node)
    is_past = last is not None and newest is last  # the record reads the newer one of the two
    claims_anew = newest is not None and newest.sequence > seat.spent
    kept = [asked for asked in seat.asked if _is_read(record, asked, is_over)]
    return replace(
        seat,
        heard=None if is_past else seat.heard,
        spent=0 if claims_anew else seat.spent,
        asked=tuple(_sent(asked, newest) for asked in kept),
    )


def _sent(asked: Asked, newest: Word | None) -> Asked:
    """A command as it was sent. That its outcome is unknown, or was never noted, comes to the same.

    And a node that has spoken since has done so whenever the command was sent.
    """
    has_spoken = newest is not None and newest.sequence > asked.heard
    outcome = None if asked.outcome is Outcome.UNKNOWN else asked.outcome
    return replace(asked, outcome=outcome, heard=0 if has_spoken else asked.heard)


def _is_read(record: Record, asked: Asked, is_over: bool) -> bool:
    """Whether anybody looks at a command again: its answer is awaited, or says more than "done"."""
    verb, epoch, answer = asked.command.verb, asked.command.epoch, asked.answer
    if answer is None or answer.code is not Code.NONE or verb not in (Verb.RELEASE, Verb.ACQUIRE):
        return True
    if record.challenge is not None and epoch == record.challenge.epoch:
        return True
    has_released = answer.result is Result.RELEASED  # its word says so from now on
    return epoch == record.epoch and not is_over and not has_released


def _answered_seat(record: Record, seat: Seat, now: float) -> Seat:
    return replace(seat, asked=tuple(_answered(record, seat, a, now) if a.answer else a for a in seat.asked))


def _answered(record: Record, seat: Seat, asked: Asked, now: float) -> Asked:
    """Of an answered command: when it was asked; of `status`, when it was answered, too.

    Both only matter beside other moments: those that the record knows, or those to come.
    """
    asked = replace(asked, id=None, heard=0, answer=asked.answer and replace(asked.answer, word=_boot(asked)))
    if asked.command.verb is Verb.ACQUIRE:
        return replace(asked, at=0.0, answered_at=0.0, tries=1, command=replace(asked.command, deadline=0.0))
    if asked.command.verb is not Verb.STATUS:
        return replace(asked, answered_at=0.0)
    asked = replace(asked, answered_at=_after(_halves(record), asked.answered_at or 0.0))
    if asked.at >= (now if seat.silent_since is None else seat.silent_since):
        return asked
    at = _not_before(_moments(record), asked.at)
    return replace(asked, at=at, command=replace(asked.command, deadline=0.0))


def _boot(asked: Asked) -> Word | None:
    """Of the word that came with an answer: whose it is, and in which boot it was said."""
    word = asked.answer.word if asked.answer else None
    return word and Word(word.node, Vrrp.BACKUP, 0, word.boot)


def _halves(record: Record) -> Iterator[float]:
    """What the time at which a `status` was answered is compared with: half of another's time."""
    for seat in record.seats:
        for asked in seat.asked:
            is_release = asked.command.verb is Verb.RELEASE and asked.command.epoch == record.epoch
            if is_release or _is_awaited(seat, asked):
                yield (asked.at + asked.command.deadline) / 2


def _is_awaited(seat: Seat, asked: Asked) -> bool:
    """Whether it may be a command to a deaf node, which the owner is asked beside."""
    silent_since = seat.silent_since
    is_deaf = silent_since is not None and asked.command.verb is Verb.STATUS and asked.at >= silent_since
    return asked.answer is None or is_deaf


def _moments(record: Record) -> Iterator[float]:
    """What the time at which an answered `status` was asked is compared with."""
    yield record.counted_from
    if record.challenge is not None:
        yield record.challenge.at
    for seat in record.seats:
        if seat.silent_since is not None:
            yield seat.silent_since
        yield from (a.at for a in seat.asked if _is_awaited(seat, a))


def _after(moments: Iterable[float], at: float) -> float:
    """A time that lies after the same of these moments."""
    return max((m + A_MOMENT for m in moments if m < at), default=0.0)


def _not_before(moments: Iterable[float], at: float) -> float:
    """A time that is at or after the same of these moments."""
    return max((m for m in moments if m <= at), default=0.0)


# ---------------------------------------------------------------------------------- intents


def _intent(record: Record, intent: Intent, now: float) -> Intent:
    """What was meant. That its outcome is unknown, or was never noted, comes to the same.

    One that cannot take effect any more stays where it is: dropping it makes the core write.
    """
    if intent.outcome in (None, Outcome.UNKNOWN):
        is_to_mend = bool(record.mend) and intent.epoch == record.epoch  # one done is not one unknown
        if now < intent.at + timing.CALL_TTL_SECONDS or is_to_mend:
            return replace(intent, outcome=None)
        intent = replace(intent, outcome=Outcome.DONE)
    is_over = record.settled and not isinstance(intent.action, Fence | Start)
    if intent.epoch != record.epoch or is_over:  # only whether EC2 refused it is still asked
        outcome = intent.outcome if intent.outcome is Outcome.REFUSED else Outcome.DONE
        at = 0.0 if now >= intent.at + timing.CALL_TTL_SECONDS else intent.at
        return replace(intent, at=at, outcome=outcome, tries=1, code="")
    is_read = intent.code in CODES or intent.outcome is Outcome.REFUSED
    return intent if is_read else replace(intent, code="")
