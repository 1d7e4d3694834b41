"""A hand-over's timeline: each step where it can be seen from the outside, in milliseconds.

"word", "published" and "accepted" are read from the calls that reached AWS; the rest from the
kernel's mount tables, EC2's records and the client's log. A step that did not take place is absent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.cloud import Call
from lab.demo.evidence import Evidence

STEPS = (
    "word",
    "published",
    "accepted",
    "released",
    "detached",
    "attached",
    "address moved",
    "mounted",
    "serving",
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step, in milliseconds after the fault."""

    name: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """A MASTER word: when it was said, and when EventBridge had it."""

    node: str
    said: float
    published: float


def timeline(
    seen: Evidence, calls: Iterable[Call], nodes: dict[str, str], fault_at: float, old: str, new: str
) -> tuple[Step, ...]:
    """The steps from `old` to `new`, in the order in which they are named."""
    found: dict[str, float | None] = {}
    calls = list(calls)
    word = next((w for w in _words(calls, nodes) if w.node == new and w.said >= fault_at - 0.05), None)
    if word is not None:
        found["word"], found["published"] = word.said, word.published
        found["accepted"] = _accepted(calls, word.published)
    found |= _steps_of_ec2(seen, fault_at, old, new)
    mounted = _mounted(seen, new, fault_at)
    found["released"] = _released(seen, old, fault_at)
    found["mounted"] = mounted
    if mounted is None:
        # Nothing was handed over: words were said, as always.
        return ()
    times = (w.acknowledged for w in seen.writes if w.acknowledged and w.acknowledged >= mounted)
    found["serving"] = next(times, None)
    return tuple(Step(name, (at - fault_at) * 1000) for name in STEPS if (at := found.get(name)) is not None)


def monotonic(wall: float) -> float:
    """A wall clock's moment on the monotonic clock."""
    return wall - time.time() + time.monotonic()


def _words(calls: list[Call], nodes: dict[str, str]) -> Iterator[Spoken]:
    """MASTER words as nodes published them, first one first."""
    names = {instance: name for name, instance in nodes.items()}
    for call in calls:
        if call.operation != "PutEvents" or call.principal.kind != "node" or call.error:
            continue
        for entry in call.parameters.get("Entries") or []:
            word: dict[str, Any] = json.loads(entry["Detail"])
            if word.get("state") == "MASTER":
                said, got = monotonic(word["sequence"] / 1000), monotonic(call.answered or call.at)
                yield Spoken(names.get(call.principal.name, ""), said, got)


def _accepted(calls: list[Call], published: float) -> float | None:
    """When on_word had written a word down: its first write to the table after it was published."""
    for call in calls:
        writes = call.operation in ("UpdateItem", "PutItem", "TransactWriteItems")
        of_record = "CLUSTER#" in str(call.parameters)
        if writes and of_record and call.principal.kind == "function" and "on_word" in call.principal.name:
            at = monotonic(call.answered or call.at)
            if at >= published and not call.error:
                return at
    return None


def _released(seen: Evidence, old: str, since: float) -> float | None:
    """When the old owner had nothing mounted any more, by its kernel."""
    had = False
    for look in seen.looks:
        has = any(mount.node == old for mount in look.mounts)
        if had and not has and look.at >= since:
            return look.at
        had = has
    return None


def _steps_of_ec2(seen: Evidence, since: float, old: str, new: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for record in seen.records:
        if record.at < since:
            continue
        if not any(record.place(volume) == old for volume in seen.volumes):
            found.setdefault("detached", record.at)
        if "detached" in found or old == new:
            if all(record.attached.get(volume) == (new, "attached") for volume in seen.volumes):
                found.setdefault("attached", record.at)
        if old != new and record.holder.get(seen.address) == new:
            found.setdefault("address moved", record.at)
    return found if old != new else {}


def _mounted(seen: Evidence, new: str, since: float) -> float | None:
    """When the new owner had everything mounted, and had not before."""
    without = False
    for look in seen.looks:
        all_there = all(new in look.nodes(volume) for volume in seen.volumes)
        if look.at >= since and not all_there:
            without = True
        if look.at >= since and all_there and without:
            return look.at
    return None
