"""Faults on request: what AWS does on a bad day, for the next calls or until cleared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from lab.cloud.calls import Call

Where: TypeAlias = Callable[[Call], bool]

FOREVER = 1_000_000_000


def _anyone(call: Call) -> bool:
    return True


@dataclass(slots=True)
class Ruling:
    """What shall go wrong with a call: wait, then perform it or not, then this error, if any."""

    code: str = ""
    message: str = ""
    applied: bool = False
    seconds: float = 0.0
    after: bool = False
    """The wait comes after the effect: the caller gives up, and yet it has happened."""
    stale: float = 0.0
    """Answer as one did so many seconds ago, if the same was asked then."""
    act: Callable[[Call], object] | None = None
    """Done when the call comes, `after` its effect or before."""


@dataclass(slots=True)
class _Planned:
    operation: str
    where: Where
    times: int
    ruling: Ruling


@dataclass(slots=True)
class SsmFault:
    """What goes wrong with one command on one instance."""

    kind: str
    times: int
    seconds: float = 0.0
    instance: str = ""


class Faults:
    """Planned faults. Operations are named as the API names them ("DetachVolume"); "*" is any.

    `times` counts calls; `where` picks among them. Faults of one operation are used up in the
    order in which they were planned.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self._ssm: list[SsmFault] = []
        self._stuck: dict[str, set[str]] = {}

    def fail(
        self,
        operation: str,
        code: str,
        times: int = 1,
        applied: bool = False,
        message: str = "",
        where: Where = _anyone,
    ) -> None:
        """Answer with this error; `applied`: the call has its effect all the same."""
        text = message or f"The lab was told to fail {operation}."
        self._plan(operation, where, times, Ruling(code, text, applied))

    def throttle(self, operation: str = "*", times: int = 1, where: Where = _anyone) -> None:
        """Answer as over the rate limit (RequestLimitExceeded, or the service's own word)."""
        self._plan(operation, where, times, Ruling("throttle", "Request limit exceeded."))

    def deny(self, operation: str, times: int = FOREVER, where: Where = _anyone) -> None:
        """Answer as if IAM did not allow it."""
        self._plan(operation, where, times, Ruling("deny", "You are not authorized."))

    def slow(self, operation: str, seconds: float, times: int = FOREVER, where: Where = _anyone) -> None:
        """Wait before the call has its effect."""
        self._plan(operation, where, times, Ruling(seconds=seconds))

    def hang(
        self,
        operation: str,
        seconds: float = 120.0,
        times: int = 1,
        applied: bool = False,
        where: Where = _anyone,
    ) -> None:
        """Answer nothing for so long, then 503; `applied`: it happened before the silence."""
        ruling = Ruling("unavailable", "hung", applied, seconds, after=True)
        self._plan(operation, where, times, ruling)

    def stale(self, operation: str, seconds: float = 1.0, times: int = 1, where: Where = _anyone) -> None:
        """A Describe answers what it answered to the same question so long ago, or earlier:
        EC2's Describes can go back in time (kubernetes#85675)."""
        self._plan(operation, where, times, Ruling(stale=seconds))

    def at(
        self,
        operation: str,
        act: Callable[[Call], object],
        after: bool = False,
        lost: bool = False,
        times: int = 1,
        where: Where = _anyone,
    ) -> None:
        """Do something when such a call comes: before it has its effect, or `after`; `lost`: the
        call has no effect at all. So a driver is killed around any of its calls:
        `at("PutItem", lambda call: functions.kill(call.principal.name), lost=True)`."""
        code = "unavailable" if lost else ""
        self._plan(operation, where, times, Ruling(code, "lost", act=act, after=after))

    def stick(self, what: str, name: str) -> None:
        """Let something stay under way until `unstick`.

        `what` is "stop" (an instance in `stopping`, still running), "attach" or "detach" (a
        volume in `attaching`, `detaching`), or "start" (an instance in `pending`).
        """
        with self._lock:
            self._stuck.setdefault(what, set()).add(name)

    def unstick(self, what: str, name: str) -> None:
        """Let it go on."""
        with self._lock:
            self._stuck.get(what, set()).discard(name)

    def ssm_late(self, seconds: float, times: int = 1, instance: str = "") -> None:
        """The agent's report arrives so much later."""
        self._plan_ssm(SsmFault("late", times, seconds, instance))

    def ssm_lost(self, times: int = 1, instance: str = "") -> None:
        """The command runs; its report never arrives."""
        self._plan_ssm(SsmFault("lost", times, 0.0, instance))

    def ssm_undelivered(self, times: int = 1, instance: str = "") -> None:
        """The command is accepted and never reaches the agent."""
        self._plan_ssm(SsmFault("undelivered", times, 0.0, instance))

    def ssm_twice(self, times: int = 1, seconds: float = 0.0, instance: str = "") -> None:
        """The agent gets the command twice, the second time so much later."""
        self._plan_ssm(SsmFault("twice", times, seconds, instance))

    def clear(self) -> None:
        """Nothing goes wrong any more; what was stuck goes on."""
        with self._lock:
            self._planned.clear()
            self._ssm.clear()
            self._stuck.clear()

    def is_stuck(self, what: str, name: str) -> bool:
        """Whether it has to stay under way."""
        with self._lock:
            return name in self._stuck.get(what, set())

    def ruling(self, call: Call) -> Ruling | None:
        """What shall go wrong with this call; uses up one time."""
        with self._lock:
            for planned in self._planned:
                if planned.operation in ("*", call.operation) and planned.where(call):
                    planned.times -= 1
                    if planned.times <= 0:
                        self._planned.remove(planned)
                    return planned.ruling
        return None

    def ssm(self, instance: str) -> SsmFault | None:
        """What shall go wrong with the next command to this instance; uses up one time."""
        with self._lock:
            for fault in self._ssm:
                if fault.instance in ("", instance):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._ssm.remove(fault)
                    return fault
        return None

    def _plan(self, operation: str, where: Where, times: int, ruling: Ruling) -> None:
        with self._lock:
            self._planned.append(_Planned(operation, where, times, ruling))

    def _plan_ssm(self, fault: SsmFault) -> None:
        with self._lock:
            self._ssm.append(fault)
