"""Answers `reconcile` through the ports: many clusters at once, in one thread of decisions.

Theory of operation
-------------------
All clusters advance in rounds. A round gathers what each waits for and does it side by side: one
look at EC2 for all that want to observe, then every other request on its own. A cluster that
waits for a moment rests; if all of them rest, the driver sleeps until the first may go on.

*The lease is looked at last.* Right before each call the driver compares the clock with the lease
of the record that the call belongs to. What could not end within it is not sent, and is answered
"not yet".

*A driver may die anywhere.* It keeps nothing that the record does not hold; the next word or the
sweep begins anew. When its time is up it simply drops what is left.

*One cluster's trouble is its own.* Whatever fails for one ends that one's drive, with an error in
the log and a metric; the others go on.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, TypeVar

from aws_lambda_powertools import Logger

from chalicelib import timing
from chalicelib.model import Action, Cluster, Fence, Outcome, Record
from chalicelib.pace import Pace
from chalicelib.ports import Ports
from chalicelib.progress import Done
from chalicelib.reconcile import (
    Act,
    GiveUp,
    Load,
    Observe,
    Persist,
    Reply,
    Request,
    Steps,
    Take,
    Tell,
    Wait,
    reconcile,
)
from chalicelib.steps import FENCE_BUDGET
from chalicelib.together import Together

LEASE_TOO_SHORT: Final = "lease-too-short"

NEEDED_SECONDS: Final = 2 * timing.CALL_SECONDS
"""What must be left of the lease when a call is sent: its time-outs, twice, for the time-out of
a read starts anew with each byte, and names are resolved without any."""

OWN_PACE: Final = "own-pace"

NAP_MOST_SECONDS: Final = 1.0
"""The longest single sleep: after it, what nodes said meanwhile is looked for."""

NAP_LEAST_SECONDS: Final = 0.02
"""The shortest: a token for the next action comes every 0.2 s."""

logger = Logger(child=True)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


Answer: TypeAlias = Reply | Done | _Failure


@dataclass(slots=True, eq=False)
class Drive:
    """One cluster under way: its generator, and what it waits for."""

    cluster: Cluster
    holder: str
    steps: Steps
    request: Request
    stored: Record | None = None
    """What this driver knows to be stored."""
    heard: int = 0
    """The words' version that it last decided on."""


class Driver:
    """Drives clusters until they need no more, or until its time is up."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._pace = Pace()

    def drive(self, clusters: Iterable[Cluster], until: float) -> list[Record]:
        """Drive these clusters. Returns when all are done, or at `until`, whichever is first.

        Gives the records as they were last known to be stored, also of those that another drives.
        """
        drives = began = [_begin(cluster) for cluster in clusters]
        with Together() as together:
            while drives and self._now() < until:
                ready = [drive for drive in drives if self._is_ready(drive)]
                if ready:
                    ended = self._round(ready, together)
                    drives = [drive for drive in drives if drive not in ended]
                else:
                    self._rest(drives, until)
        for drive in drives:
            drive.steps.close()
        return [drive.stored for drive in began if drive.stored is not None]

    def _now(self) -> float:
        return self._ports.clock.now()

    # --------------------------------------------------------------------------------- resting

    def _is_ready(self, drive: Drive) -> bool:
        match drive.request:
            case Wait(until):
                return self._now() >= until
            case Act(actions, record):
                now, half = self._now(), timing.LEASE_SECONDS / 2
                return self._pace.has_room(actions, now) or _left(record, now) < half
        return True

    def _rest(self, drives: list[Drive], until: float) -> None:
        """Sleep until the first may go on; then wake those whose nodes said something."""
        now = self._now()
        moments = [d.request.until for d in drives if isinstance(d.request, Wait)]
        pause = min([*moments, until, now + NAP_MOST_SECONDS]) - now
        self._ports.clock.sleep(max(pause, NAP_LEAST_SECONDS))
        if pause >= NAP_MOST_SECONDS:
            self._wake(drives)

    def _wake(self, drives: list[Drive]) -> None:
        resting = {d.cluster.name: d for d in drives if isinstance(d.request, Wait)}
        for name, version in self._ports.store.words_versions(resting).items():
            if version != resting[name].heard:
                resting[name].request = Wait(self._now())

    # --------------------------------------------------------------------------------- rounds

    def _round(self, ready: list[Drive], together: Together) -> list[Drive]:
        """Answer each drive's request, and hear its next one. Returns those that ended."""
        looking = [drive for drive in ready if isinstance(drive.request, Observe)]
        replies = self._look(looking, together) if looking else {}
        tasks = [(drive, call) for drive in ready for call in self._calls(drive)]
        results = together.run([partial(_shielded, call) for _, call in tasks])
        for (drive, _), result in zip(tasks, results, strict=True):
            replies.setdefault(drive, []).append(result)
        return [drive for drive in ready if not self._advance(drive, replies.get(drive, []))]

    def _look(self, looking: list[Drive], together: Together) -> dict[Drive, list[Answer]]:
        """One look for all; if it fails, one for each, so that only those fail who must."""
        watched = {
            d.cluster.name: (d.cluster, d.request.record) for d in looking if isinstance(d.request, Observe)
        }
        observe = self._ports.observer.observe
        seen = _shielded(lambda: observe(watched, self._now(), together))
        if not isinstance(seen, _Failure):
            return {drive: [seen[drive.cluster.name]] for drive in looking}
        if len(looking) == 1:
            return {looking[0]: [seen]}
        alone = [self._look([drive], together) for drive in looking]
        return {drive: answers for one in alone for drive, answers in one.items()}

    def _calls(self, drive: Drive) -> list[Callable[[], Reply | Done]]:
        """What answers the request: one call, or one for each action."""
        store, request = self._ports.store, drive.request
        match request:
            case Load():
                return [lambda: store.load(drive.cluster.name)]
            case Take(record):
                return [lambda: self._take(record, drive.holder)]
            case Persist(record):
                return [lambda: store.persist(record, drive.stored, self._now())]
            case Act(actions, record):
                return [partial(self.perform, drive.cluster, action, record) for action in actions]
            case GiveUp(record):
                return [lambda: store.give_up(record)]
            case Tell(news, record):
                return [lambda: self._ports.teller.tell(record, news)]
        return []

    def _take(self, record: Record, holder: str) -> Record | None:
        now = self._now()
        return self._ports.store.take(record, holder, now, now + timing.LEASE_SECONDS)

    def _advance(self, drive: Drive, results: list[Answer]) -> bool:
        """Give the drive its reply. False: it has ended."""
        failed = next((result for result in results if isinstance(result, _Failure)), None)
        if failed is not None:
            self._report(drive, failed.error)
            drive.steps.close()
            return False
        reply = _reply(drive.request, results)
        if isinstance(reply, Record):
            drive.stored = reply
        if isinstance(reply, Record) and isinstance(drive.request, Load):
            drive.heard = reply.words_version
        try:
            drive.request = drive.steps.send(reply)
        except StopIteration:
            return False
        except Exception as error:  # noqa: BLE001
            # The core refuses what it does not understand by raising: that is this cluster's end
            # for now, and must not be the end of the others that share the driver.
            self._report(drive, error)
            return False
        return True

    def _report(self, drive: Drive, error: Exception) -> None:
        logger.error(
            "driving a cluster failed; the next word or sweep tries again",
            cluster=drive.cluster.name,
            epoch=drive.stored.epoch if drive.stored else None,
            exc_info=error,
        )
        self._ports.count("DriveFailed")

    # --------------------------------------------------------------------------------- acting

    def perform(self, cluster: Cluster, action: Action, record: Record) -> Done:
        """Perform one action, if it may still be sent."""
        if isinstance(action, Fence) and not self._ports.fences.spend(action.node, self._now()):
            return Done(action, Outcome.NOT_YET, self._now(), FENCE_BUDGET)
        if not self._pace.take(action, self._now()):
            return Done(action, Outcome.NOT_YET, self._now(), OWN_PACE)
        if _left(record, self._now()) < NEEDED_SECONDS:
            return Done(action, Outcome.NOT_YET, self._now(), LEASE_TOO_SHORT)
        result = self._ports.cloud.perform(cluster, action)
        log = logger.info if result.outcome is Outcome.DONE else logger.warning
        log(
            f"{type(action).__name__}: {result.outcome.value}",
            cluster=cluster.name,
            epoch=record.epoch,
            action=repr(action),
            code=result.code,
            text=result.text,
        )
        return Done(action, result.outcome, self._now(), result.code, result.id)


def _begin(cluster: Cluster) -> Drive:
    holder = uuid.uuid4().hex
    steps = reconcile(cluster, holder)
    return Drive(cluster, holder, steps, next(steps))


def _left(record: Record, now: float) -> float:
    return record.lease.until - now if record.lease else 0.0


def _reply(request: Request, results: list[Answer]) -> Reply:
    if isinstance(request, Act):
        return tuple(result for result in results if isinstance(result, Done))
    reply = results[0] if results else None
    if isinstance(reply, Done | _Failure):
        raise TypeError(f"a {type(request).__name__} was answered with {reply!r}")
    return reply


def _shielded(call: Callable[[], T]) -> T | _Failure:
    """What the call returns, or its failure: one cluster's trouble must not reach the others,
    whatever it is, so that nothing less than every Exception is caught."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001
        return _Failure(error)
