"""EventBridge: rules, targets, schedules; and what it may do to an event on the way.

moto answers PutEvents with a 500 if a rule has a Lambda target, fires scheduled rules on every
event, and ignores DISABLED, Input and DeadLetterConfig. Delivery here is asynchronous; on
request events are lost, doubled, late, or in another order: EventBridge promises "at least
once" and no order (EventBridge user guide, "Event delivery").
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from moto.events.models import EventBus, Rule, events_backends

from lab.cloud.errors import Refused
from lab.cloud.targets import deliver
from lab.cloud.world import Request, World

Event: TypeAlias = dict[str, Any]
Where: TypeAlias = Callable[[Event], bool]

_ENTRY_MOST = 1024 * 1024
"""Bytes of one PutEvents request (EventBridge quotas)."""
_REORDER_SECONDS = 5.0
"""An event held back to be overtaken is let go after this long even if none comes."""


_RATE = re.compile(r"rate\((?P<count>\d+) (?P<unit>minute|hour|day)s?\)")


def _any_event(event: Event) -> bool:
    return True


@dataclass(slots=True)
class _Fate:
    kind: str
    count: int
    where: Where
    seconds: float = 0.0
    held: list[tuple[str, Event]] = field(default_factory=list)


class Bus:
    """The event buses of the cloud. `history` holds (event, fate) of the latest events."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fates: list[_Fate] = []
        self._lock = threading.Lock()
        self.history: deque[tuple[Event, str]] = deque(maxlen=5_000)
        self.undeliverable: deque[tuple[Event, str, str]] = deque(maxlen=1_000)
        """(event, target ARN, error code) of what reached no target."""

    def lose(self, count: int = 1, where: Where = _any_event) -> None:
        """The next events never reach a rule."""
        self._plan(_Fate("lost", count, where))

    def duplicate(self, count: int = 1, where: Where = _any_event, seconds: float = 0.05) -> None:
        """The next events reach their rules twice, under the same id."""
        self._plan(_Fate("duplicated", count, where, seconds))

    def delay(self, seconds: float, count: int = 1, where: Where = _any_event) -> None:
        """The next events are that late."""
        self._plan(_Fate("delayed", count, where, seconds))

    def reorder(self, count: int = 2, where: Where = _any_event) -> None:
        """The next events are held back, then delivered last one first."""
        self._plan(_Fate("reordered", count, where))

    def clear(self) -> None:
        """Back to order; what is held back is delivered."""
        with self._lock:
            held = [pair for fate in self._fates for pair in fate.held]
            self._fates.clear()
        self._send_all(held)

    def native(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        """An event of an AWS service: on the default bus."""
        self.publish(self.event(source, detail_type, detail, resources))

    def event(
        self,
        source: str,
        detail_type: str,
        detail: Any,
        resources: list[str],
        at: float | None = None,
    ) -> Event:
        """An event as targets get it: `time` in whole seconds, UTC."""
        when = datetime.fromtimestamp(time.time() if at is None else at, UTC)
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": self._world.settings.account,
            "time": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._world.settings.region,
            "resources": resources,
            "detail": detail,
        }

    def publish(self, event: Event, bus: str = "default") -> None:
        """Hand an event to the bus; returns at once."""
        with self._lock:
            fate = next((f for f in self._fates if f.count > 0 and f.where(event)), None)
            if fate is not None:
                fate.count -= 1
            self.history.append((event, fate.kind if fate else "delivered"))
        if fate is None:
            self._send(bus, event, 0.0)
        elif fate.kind == "duplicated":
            self._send(bus, event, 0.0)
            self._send(bus, event, fate.seconds)
        elif fate.kind == "delayed":
            self._send(bus, event, fate.seconds)
        elif fate.kind == "reordered":
            self._hold(bus, event, fate)

    def fire(self, rule_name: str) -> None:
        """Fire a scheduled rule now, whatever its schedule; it must be enabled."""
        for rule in self._rules("default"):
            if rule.name == rule_name and rule.state == "ENABLED":
                self._fire(rule)
                return
        raise LookupError(f"there is no enabled rule {rule_name!r} on the default bus")

    def run_schedules(self) -> None:
        """Fire scheduled rules as they fall due, until the cloud stops. Runs in a thread."""
        due: dict[str, tuple[str, float]] = {}
        while not self._world.stopped.wait(0.1):
            now = time.monotonic()
            for rule in self._rules("default"):
                period = self._period(rule)
                if period is None:
                    continue
                schedule, at = due.get(rule.arn, ("", 0.0))
                if schedule != rule.scheduled_expression:
                    due[rule.arn] = (str(rule.scheduled_expression), now + period)
                elif now >= at:
                    due[rule.arn] = (schedule, now + period)
                    if rule.state == "ENABLED":
                        self._fire(rule)

    def _period(self, rule: Rule) -> float | None:
        """Seconds between two firings; None for a rule without a rate. cron is not supported."""
        found = _RATE.fullmatch(str(rule.scheduled_expression or ""))
        if found is None:
            return None
        minutes = {"minute": 1, "hour": 60, "day": 1440}[found["unit"]]
        return int(found["count"]) * minutes * self._world.latencies.minute

    def _fire(self, rule: Rule) -> None:
        event = self.event("aws.events", "Scheduled Event", {}, [rule.arn])
        self._to_targets(rule, event)

    def _plan(self, fate: _Fate) -> None:
        with self._lock:
            self._fates.append(fate)

    def _hold(self, bus: str, event: Event, fate: _Fate) -> None:
        with self._lock:
            fate.held.append((bus, event))
            first, last = len(fate.held) == 1, fate.count <= 0
        if last:
            self._release(fate)
        elif first:
            self._world.timeline.after(_REORDER_SECONDS, lambda: self._release(fate))

    def _release(self, fate: _Fate) -> None:
        with self._lock:
            held, fate.held = fate.held, []
        self._send_all(held)

    def _send_all(self, held: list[tuple[str, Event]]) -> None:
        def send() -> None:
            for bus, event in reversed(held):
                self._match(bus, event)

        self._world.timeline.after(self._world.latencies.event, send)

    def _send(self, bus: str, event: Event, seconds: float) -> None:
        wait = self._world.latencies.event + seconds
        self._world.timeline.after(wait, lambda: self._match(bus, event))

    def _match(self, bus: str, event: Event) -> None:
        for rule in self._rules(bus):
            patterned = bool(rule.event_pattern.dump())
            if rule.state == "ENABLED" and patterned and rule.event_pattern.matches_event(event):
                self._to_targets(rule, event)

    def _to_targets(self, rule: Rule, event: Event) -> None:
        for target in list(rule.targets):
            deliver(self._world, rule, target, copy.deepcopy(event))

    def _rules(self, bus: str) -> list[Rule]:
        with self._world.lock:
            found = self._buses().get(bus)
            return list(found.rules.values()) if found else []

    def _buses(self) -> dict[str, EventBus]:
        settings = self._world.settings
        buses: dict[str, EventBus] = events_backends[settings.account][settings.region].event_buses
        return buses


def put_events(world: World, request: Request) -> dict[str, Any]:
    """PutEvents: each entry is accepted or refused by itself."""
    entries = list(request.parameters.get("Entries") or [])
    if not 1 <= len(entries) <= 10:
        raise Refused(
            "ValidationException",
            f"1 validation error detected: Value '[{len(entries)} entries]' at 'entries' failed to "
            "satisfy constraint: Member must have length between 1 and 10",
        )
    if sum(_size(entry) for entry in entries) > _ENTRY_MOST:
        raise Refused("ValidationException", "Total size of the entries is over the limit")
    answers = [_put_entry(world, entry) for entry in entries]
    failed = sum("ErrorCode" in answer for answer in answers)
    return {"FailedEntryCount": failed, "Entries": answers}


def _put_entry(world: World, entry: dict[str, Any]) -> dict[str, str]:
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            return _refused(
                "InvalidArgument",
                f"Parameter {name} is not valid. Reason: {name} is a required argument.",
            )
    if str(entry["Source"]).startswith("aws."):
        return _refused("NotAuthorizedForSource", "Not authorized for the source.")
    try:
        detail = json.loads(entry["Detail"])
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return _refused("MalformedDetail", "Detail is malformed.")
    event = world.bus.event(
        entry["Source"],
        entry["DetailType"],
        detail,
        list(entry.get("Resources") or []),
        _seconds(entry.get("Time")),
    )
    world.bus.publish(event, str(entry.get("EventBusName") or "default").split("/")[-1])
    return {"EventId": event["id"]}


def _refused(code: str, message: str) -> dict[str, str]:
    return {"ErrorCode": code, "ErrorMessage": message}


def _seconds(when: Any) -> float | None:
    if when is None:
        return None
    return when.timestamp() if isinstance(when, datetime) else float(when)


def _size(entry: dict[str, Any]) -> int:
    return sum(len(str(entry.get(n) or "").encode()) for n in ("Source", "DetailType", "Detail"))
