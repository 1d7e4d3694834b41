"""What is forgotten of a record changes no decision, now or later: not even where EC2, the outcomes of
calls and the answers of nodes are otherwise than any history made them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from chalicelib.decide import decide
from chalicelib.model import Code, FencePolicy, Intent, Observation, Outcome, Power, Record, Start
from chalicelib.steps import DEVICE_TAKEN, FENCE_BUDGET
from tests.simulation import physics
from tests.simulation.essence import essence
from tests.simulation.moves import begin, moves
from tests.simulation.pool import forget
from tests.simulation.scope import Scope
from tests.simulation.test_reduction import walk

LATER = (0.0, 0.0, 1.0, 5.0, 12.0, 21.0, 46.0, 61.0, 130.0, 301.0)
"""Seconds: before and after each of the core's deadlines."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(56))
def test_what_is_forgotten_changes_no_decision(seed: int) -> None:
    """The same actions and the same next look, and records of which the same matters again."""
    forget()
    dice = random.Random(seed)
    scope = walk(seed, dice)
    world = begin(scope)
    for _ in range(200):
        record = dice.choice(RECORDS)(world.record, world.now, dice)
        seen = dice.choice(SIGHTS)(physics.observe(world, scope.cluster), dice)
        _compare(scope, record, replace(seen, at=world.now + dice.choice(LATER)), world.now)
        steps = list(moves(scope, world))
        if not steps:
            return
        calm = [step for step in steps if not step.kind]
        world = dice.choice(calm if calm and dice.random() < 0.5 else steps).world


def _compare(scope: Scope, record: Record, seen: Observation, now: float) -> None:
    by_force = scope.cluster.fence is FencePolicy.FORCE_DETACH
    kept = essence(record, now, by_force=by_force)
    whole, part = decide(scope.cluster, record, seen), decide(scope.cluster, kept, seen)
    assert (whole.actions, whole.look_at) == (part.actions, part.look_at)
    after, alike = (essence(one.record, seen.at, by_force=by_force) for one in (whole, part))
    assert after == alike


# -------------------------------------------------------------------- what else could have been


def _as_is(record: Record, now: float, dice: random.Random) -> Record:
    return record


def _outcomes(record: Record, now: float, dice: random.Random) -> Record:
    """EC2 refused a call, throttled it, took its device for another, or nobody knows."""
    codes = ("", "UnauthorizedOperation", DEVICE_TAKEN, FENCE_BUDGET)
    intents = tuple(
        replace(i, outcome=dice.choice([None, *Outcome]), code=dice.choice(codes)) for i in record.intents
    )
    return replace(record, intents=intents)


def _answers(record: Record, now: float, dice: random.Random) -> Record:
    """A node said something else, or its answer came at another time."""
    for seat in record.seats:
        asked = tuple(
            replace(
                a,
                answer=replace(a.answer, code=dice.choice([Code.NONE, Code.NONE, Code.DAMAGED, Code.BUSY])),
                answered_at=min(a.at + dice.choice(LATER[:6]), now),
            )
            if a.answer
            else a
            for a in seat.asked
        )
        record = record.with_seat(replace(seat, asked=asked))
    return record


def _mends(record: Record, now: float, dice: random.Random) -> Record:
    return replace(record, mend=("v",))


def _unanswered(record: Record, now: float, dice: random.Random) -> Record:
    """A node has not answered, or has been silent for a while."""
    for seat in record.seats:
        silent_since = dice.choice([None, now, max(now - 20, 0.0)])
        asked = tuple(
            replace(a, answer=None, answered_at=None, outcome=Outcome.DONE) if dice.random() < 0.5 else a
            for a in seat.asked
        )
        record = record.with_seat(replace(seat, asked=asked, silent_since=silent_since))
    return record


def _failed(record: Record, now: float, dice: random.Random) -> Record:
    """The owner has failed to acquire, and said why."""
    record = _answers(record, now, dice)
    seat = record.seat(record.owner or "")
    return record.with_seat(replace(seat, failures=1, failed_at=now)) if record.owner else record


def _fenced(record: Record, now: float, dice: random.Random) -> Record:
    """Somebody was stopped, and was or was not started again."""
    for seat in record.seats:
        record = record.with_seat(replace(seat, fenced_at=dice.choice([None, now - 10])))
        start = Intent(Start(seat.node), record.epoch, now - dice.choice([0, 2, 20, 70]))
        start = replace(start, outcome=dice.choice([None, *Outcome]), tries=dice.choice([1, 2, 3]))
        record = replace(record, intents=(*record.intents, start))
    return record


def _late(record: Record, now: float, dice: random.Random) -> Record:
    """The hand-over has been under way for a while; who answered did so at any moment of it."""
    record = replace(record, settled=False, granted_at=now - 30, counted_from=now - 30)
    for seat in record.seats:
        asked = tuple(
            replace(
                a,
                command=replace(a.command, epoch=record.epoch, deadline=now - 5),
                at=now - 25,
                outcome=Outcome.DONE,
                answer=a.answer if dice.random() < 0.5 else None,
                answered_at=now - dice.choice([0, 14, 16, 24]),
            )
            for a in seat.asked
        )
        record = record.with_seat(replace(seat, asked=asked))
    return record


RECORDS: tuple[Callable[[Record, float, random.Random], Record], ...] = (
    _as_is,
    _as_is,
    _outcomes,
    _answers,
    _mends,
    _unanswered,
    _failed,
    _fenced,
    _late,
)


def _seen(seen: Observation, dice: random.Random) -> Observation:
    return seen


def _powers(seen: Observation, dice: random.Random) -> Observation:
    """EC2 says something else of the instances."""
    return replace(seen, instances=tuple(replace(i, power=dice.choice(list(Power))) for i in seen.instances))


def _nowhere(seen: Observation, dice: random.Random) -> Observation:
    """A volume has left, or both volume and address have."""
    volumes = tuple(replace(view, attachments=()) for view in seen.volumes)
    addresses = tuple(replace(view, interface=None, holder="") for view in seen.addresses)
    return replace(seen, volumes=volumes, addresses=dice.choice([addresses, seen.addresses]))


SIGHTS: tuple[Callable[[Observation, random.Random], Observation], ...] = (_seen, _seen, _powers, _nowhere)
