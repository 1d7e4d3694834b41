"""What an observation and the outcomes of calls add to the record. Pure.

Nothing is decided here: answers are filed under their commands, the words that they carry are
merged, silence past a deadline is noted, and steps that are seen to be done enter the timeline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalicelib import timing
from chalicelib.asking import is_unanswered
from chalicelib.facts import Facts, is_open
from chalicelib.model import (
    Action,
    Answer,
    Asked,
    Attached,
    Code,
    Fence,
    Held,
    Intent,
    Outcome,
    Power,
    Record,
    Result,
    Seat,
    Send,
    Start,
    Verb,
    Vrrp,
)

OVERTAKEN = (Code.OLDER_EPOCH, Code.OVERTAKEN, Code.OTHER_BOOT)
"""Refusals of an Acquire that are no failure of the node: a newer command or boot came between."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an action and when: the outcome, AWS's own code, SSM's id for a command."""

    action: Action
    outcome: Outcome
    at: float
    code: str = ""
    id: str | None = None


# ------------------------------------------------------------------------------ observation


def absorb(facts: Facts) -> Record:
    """The record with all that the observation adds."""
    record = facts.record
    for seat in record.seats:
        for asked in seat.asked:
            record = _file(record, facts, asked)
    for node in facts.cluster.nodes:
        seat = _powered(replace(facts, record=record), node)
        record = record if seat == record.seat(node) else record.with_seat(seat)
    facts = replace(facts, record=record)
    for seat in record.seats:
        record = record.with_seat(_silence(facts, _without_handovers(seat, record.epoch)))
    facts = replace(facts, record=record)
    return _mark(replace(facts, record=_watch(facts)))


def _file(record: Record, facts: Facts, asked: Asked) -> Record:
    """An answer that has come, filed under its command."""
    answer = dict(facts.seen.answers).get(asked.id or "")
    if asked.answer is not None or answer is None:
        return record
    seat = record.seat(asked.command.node)
    filed = replace(asked, answer=answer, answered_at=facts.now)
    commands = tuple(filed if a == asked else a for a in seat.asked if a == asked or not _is_past(a, asked))
    seat = _judge(replace(seat, asked=commands, silent_since=None), asked, answer, facts)
    if answer.word is not None and _is_newer(record, answer):
        seat = replace(seat, heard=answer.word)
    return record.with_seat(seat)


def _is_past(late: Asked, answered: Asked) -> bool:
    """Whether a command went unanswered before this one was even sent: it is given up.

    A node that answers again would otherwise be silent for ever, for an answer that never comes.
    """
    return late.answer is None and late.at < answered.at and is_unanswered(late, answered.at)


def _is_newer(record: Record, answer: Answer) -> bool:
    word = answer.word
    last = record.word(word.node) if word else None
    return word is not None and (last is None or word.sequence > last.sequence)


def _judge(seat: Seat, asked: Asked, answer: Answer, facts: Facts) -> Seat:
    """Whether the node failed to acquire, or to release what is to be mended: it waits a while."""
    about_itself = asked.command.verb in (Verb.STATUS, Verb.HANDOVER)
    if about_itself or asked.command.epoch != facts.record.epoch:
        return seat
    if asked.command.verb is Verb.RELEASE:
        is_mended = seat.node == facts.record.owner and answer.result is Result.FAILED
        return _failed(seat, facts.now) if is_mended else seat
    if answer.code in OVERTAKEN:
        return seat
    if answer.result is Result.ACQUIRED:
        return replace(seat, failures=0, failed_at=None)
    return _failed(seat, facts.now)


def _failed(seat: Seat, now: float) -> Seat:
    return replace(seat, failures=seat.failures + 1, failed_at=now)


def _without_handovers(seat: Seat, epoch: int) -> Seat:
    """A seat without orders to hand over that were followed: they say nothing any more.

    A record that knows them is one that an earlier Baton, after a step back, would leave alone.
    """
    kept = [a for a in seat.asked if a.command.verb is not Verb.HANDOVER or a.command.epoch == epoch]
    return seat if len(kept) == len(seat.asked) else replace(seat, asked=tuple(kept))


def _silence(facts: Facts, seat: Seat) -> Seat:
    """A running node that left a command unanswered is silent until it answers one."""
    if seat.silent_since is not None or facts.is_booting(seat.node):
        return seat
    if facts.seen.power(seat.node) is not Power.RUNNING:
        return seat
    late = [a for a in seat.asked if is_unanswered(a, facts.now) and not _by_word(facts, a)]
    if any(a.command.verb is Verb.ACQUIRE and a.command.epoch == facts.record.epoch for a in late):
        seat = _failed(seat, facts.now)
    return replace(seat, silent_since=facts.now) if late else seat


def _powered(facts: Facts, node: str) -> Seat:
    """What follows from whether the node is on, off, or said by a person to be off."""
    seat, word, power = facts.record.seat(node), facts.record.word(node), facts.seen.power(node)
    heard = word.sequence if word else 0
    if power.is_off:
        seat = replace(seat, off_heard=heard, up_at=None)
    elif seat.off_heard is not None and power is Power.RUNNING:
        is_back = heard > seat.off_heard
        up_at = facts.now if seat.up_at is None else seat.up_at
        seat = replace(seat, off_heard=None if is_back else seat.off_heard, up_at=None if is_back else up_at)
    if seat.fenced_at is not None and power is Power.RUNNING:
        is_over = facts.now >= seat.fenced_at + facts.cluster.stopping_seconds
        seat = replace(seat, fenced_at=None if is_over else seat.fenced_at)
    if 0 < seat.confirmed == facts.record.epoch and seat.confirmed_at is None:
        seat = replace(seat, confirmed_at=facts.now)
    return seat


def _by_word(facts: Facts, asked: Asked) -> bool:
    """Whether the node's own word shows that the command was carried out, or is void."""
    command, word = asked.command, facts.record.word(asked.command.node)
    if word is None or word.sequence <= asked.heard:
        return False
    if command.boot and word.boot != command.boot:
        return True
    if command.verb is Verb.ACQUIRE:
        return word.highest >= command.epoch and word.serving == command.epoch
    if command.verb is Verb.HANDOVER:
        return word.state is not Vrrp.MASTER
    return command.verb is Verb.RELEASE and word.highest >= command.epoch and word.serving is None


def _watch(facts: Facts) -> Record:
    """Since when nobody claims, since when EC2 contradicts a settled record; spent intents go."""
    record, now = facts.record, facts.now
    nobody = None if facts.claimants() else record.nobody_since or now
    adrift = (record.adrift_since or now) if facts.is_adrift() else None
    intents = tuple(i for i in record.intents if _is_kept(i, record.epoch, now))
    return replace(record, nobody_since=nobody, adrift_since=adrift, intents=intents)


def _is_kept(intent: Intent, epoch: int, now: float) -> bool:
    young = now < intent.at + timing.CALL_TTL_SECONDS
    return intent.epoch == epoch or young or is_open(intent, now)


def _mark(facts: Facts) -> Record:
    """The timeline of an unfinished epoch, as far as it is seen to have come."""
    record, owner = facts.record, facts.record.owner
    if owner is None or record.settled or not facts.sees_all():
        return record
    word = record.word(owner)
    elsewhere = any(a.node != owner for v in facts.seen.volumes for a in v.attachments)
    states = {a.state for v in facts.seen.volumes for a in v.attachments}
    steps = {
        "released": not facts.unclear(),
        "detached": not elsewhere,
        "attached": facts.volumes_at(owner) and states <= {Attached.ATTACHED},
        "moved": facts.addresses_at(owner),
        "serving": word is not None and word.serving == record.epoch,
    }
    for step, is_done in steps.items():
        record = record.marked(step, facts.now) if is_done else record
    return record


# ------------------------------------------------------------------------- intents, outcomes


def intend(facts: Facts, actions: tuple[Action, ...]) -> Record:
    """The record with the intent of each action: persisted before any call is made."""
    record = facts.record
    for action in actions:
        if isinstance(action, Send):
            record = _ask(record, action, facts.now)
        else:
            record = _mean(record, action, facts.now)
    return record


def _ask(record: Record, action: Send, now: float) -> Record:
    command = action.command
    seat, word = record.seat(command.node), record.word(command.node)
    last = record.asked(command.node, command.verb)
    again = last is not None and last.command.epoch == command.epoch
    asked = Asked(
        command,
        at=now,
        heard=word.sequence if word else 0,
        tries=last.tries + 1 if last is not None and again else 1,
    )
    others = [a for a in seat.asked if a.command.verb is not command.verb]
    order = list(Verb)
    commands = sorted((*others, asked), key=lambda a: order.index(a.command.verb))
    held = Held(command.epoch, command.boot) if command.verb is Verb.ACQUIRE else seat.held
    record = record.with_seat(replace(seat, asked=tuple(commands), held=held))
    return replace(record, highest_issued=max(record.highest_issued, command.epoch))


def _mean(record: Record, action: Action, now: float) -> Record:
    """The record with the intent of a call. One of the same call that went astray stays beside it.

    That the second call was done says nothing about the first, which may still land: on a node that
    has been given the volume back by then.
    """
    if isinstance(action, Send):
        raise TypeError("a command is asked, not meant")
    same = [i for i in record.intents if i.action == action and i.epoch == record.epoch]
    tries = max((i.tries for i in same), default=0) + 1
    astray = [i for i in same if is_open(i, now)][-1:]
    rest = tuple(i for i in record.intents if i not in same or i in astray)
    return replace(record, intents=(*rest, Intent(action, record.epoch, now, tries=tries)))


def note(record: Record, done: tuple[Done, ...]) -> Record:
    """The record with the outcomes of the calls that were just made."""
    for one in done:
        if isinstance(one.action, Send):
            record = _sent(record, one)
        else:
            record = _happened(record, one)
    return record


def _sent(record: Record, done: Done) -> Record:
    if not isinstance(done.action, Send):
        raise TypeError("only a command is sent")
    seat = record.seat(done.action.command.node)
    commands = tuple(
        replace(a, outcome=done.outcome, id=done.id) if a.command == done.action.command else a
        for a in seat.asked
    )
    return record.with_seat(replace(seat, asked=commands))


def _happened(record: Record, done: Done) -> Record:
    tries = [i for i in record.intents if i.action == done.action and i.epoch == record.epoch]
    intents = tuple(
        replace(i, outcome=done.outcome, code=done.code) if i in tries[-1:] else i for i in record.intents
    )
    record = replace(record, intents=intents)
    may_be = done.outcome in (Outcome.DONE, Outcome.UNKNOWN)
    if isinstance(done.action, Fence) and may_be:
        seat = record.seat(done.action.node)
        return record.with_seat(replace(seat, fenced_at=done.at)).marked("fenced", done.at)
    if isinstance(done.action, Start) and may_be:
        seat = record.seat(done.action.node)
        return record.with_seat(replace(seat, fenced_at=None, started_at=done.at))
    return record
