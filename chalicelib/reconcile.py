"""The loop that brings a cluster to where it should be, as a generator. Pure.

It yields requests and is told the replies; whoever drives it does the I/O. It keeps nothing
between two yields that the record does not hold: it can be dropped anywhere and begun anew.

*The driver's duty, in one place.* `Persist` is answered only after the record is durable, and
conditional on the version and on our unexpired lease. `Act` comes after the `Persist` that holds
its intents; the lease's remaining time is checked last before each call is sent, and a call is
sent once. After `Act` the outcomes are recorded and the next step is to observe.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeAlias

from chalicelib import progress, timing
from chalicelib.decide import decide
from chalicelib.model import Action, Cluster, Decision, News, Observation, Record
from chalicelib.progress import Done


@dataclass(frozen=True, slots=True)
class Load:
    """Read the record and the words. Reply: Record."""


@dataclass(frozen=True, slots=True)
class Take:
    """Take the lease. Reply: the Record with it, or None if somebody else drives."""

    record: Record


@dataclass(frozen=True, slots=True)
class Observe:
    """Look at EC2 and at the commands under way. Reply: Observation."""

    record: Record


@dataclass(frozen=True, slots=True)
class Persist:
    """Write the driver's half of the record and renew the lease.

    Reply: the Record as stored, with the newest words; None if the lease or the version is lost.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class Act:
    """Perform the actions, whose intents are durable. Reply: tuple of Done, one for each."""

    actions: tuple[Action, ...]
    record: Record


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep until a moment, POSIX seconds. Reply: None."""

    until: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people and machines. Reply: None. May be lost: nothing depends on it."""

    news: tuple[News, ...]
    record: Record


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Give the lease back, if no word came since `record` was read. Reply: whether it was."""

    record: Record


Request: TypeAlias = Load | Take | Observe | Persist | Act | Wait | Tell | GiveUp
Reply: TypeAlias = Record | Observation | tuple[Done, ...] | bool | None
Steps: TypeAlias = Generator[Request, Reply, None]


def reconcile(cluster: Cluster, holder: str) -> Steps:
    """Drive a cluster until there is nothing to do before a new word or the next sweep.

    `holder` names the driver; it must be unique to this invocation.
    """
    taken = yield Take(_record((yield Load())))
    if taken is None:
        return
    while (yield from turn(cluster, holder)):
        pass


def turn(cluster: Cluster, holder: str) -> Generator[Request, Reply, bool]:
    """One turn of the loop: look, decide, persist, act. Returns whether to go on."""
    record = _record((yield Load()))
    if record.lease is None or record.lease.holder != holder:
        return False
    seen = yield Observe(record)
    if not isinstance(seen, Observation):
        raise TypeError("Observe is answered with an Observation")
    decision = decide(cluster, record, seen)
    kept = yield from _keep(decision, record, seen.at)
    if kept is None:
        return False
    return (yield from finish(decision.actions, decision.look_at, kept))


def finish(
    actions: tuple[Action, ...], look_at: float | None, kept: Record
) -> Generator[Request, Reply, bool]:
    """How a turn ends, once what it decided is durable: it acts, or waits, or gives the lease back.

    Nothing else of the turn matters from here on. Returns whether to go on.
    """
    if actions:
        return (yield from _act(actions, kept))
    if look_at is not None:
        yield Wait(min(look_at, _renew_at(kept)))
        return True
    return not (yield GiveUp(kept))


def _keep(decision: Decision, record: Record, now: float) -> Generator[Request, Reply, Record | None]:
    """Persist what was decided, if it changed or the lease runs out; then tell."""
    lease = record.lease
    is_late = lease is None or lease.until - now <= timing.LEASE_SECONDS / 2
    if decision.record == record and not is_late:
        return record
    kept = yield Persist(decision.record)
    if kept is None:
        return None
    if decision.news:
        yield Tell(decision.news, decision.record)
    return _decided(_record(kept), decision.record)


def _renew_at(record: Record) -> float:
    """When the lease is to be written again: one that ran out while we waited would be the end."""
    return record.lease.until - timing.LEASE_SECONDS / 2 if record.lease else 0.0


def _decided(kept: Record, decided: Record) -> Record:
    """The stored record, with the words' version that the decision was made on.

    Only then does giving up the lease notice a word that came in meanwhile.
    """
    version = decided.words_version
    return replace(kept, words=decided.words, notices=decided.notices, words_version=version)


def _act(actions: tuple[Action, ...], kept: Record) -> Generator[Request, Reply, bool]:
    """Act, and record what became of it. Returns whether the lease still holds."""
    done = yield Act(actions, kept)
    if not isinstance(done, tuple):
        raise TypeError("Act is answered with a tuple of Done")
    return (yield Persist(progress.note(kept, done))) is not None


def _record(reply: Reply) -> Record:
    if not isinstance(reply, Record):
        raise TypeError("the reply must be a Record")
    return reply
