"""What was seen from the outside, as plain values: all that a verdict or a timeline may look at.

Nothing here was said by Baton. `Look` is what the kernel shows of the hosts, `Ec2` what EC2's
records say, `Delivery` what SSM handed to an agent, `Write` what the client did, and `kept` what the
ledger's files hold. Times are seconds of the machine's monotonic clock; nodes have short names.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

OFF = ("stopped", "terminated")
"""What EC2 says of an instance that writes no more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume mounted in a host; `live`: its device still gives data."""

    node: str
    boot: str
    volume: str
    point: str
    live: bool = True


@dataclass(frozen=True, slots=True)
class Look:
    """What the kernel showed of all hosts, from the moment `at` on, up to the next look."""

    at: float
    mounts: frozenset[Mount] = frozenset()
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses that each host's kernel answers for."""
    epochs: Mapping[str, int] = field(default_factory=dict)
    """The highest epoch in the file on each node's disk."""

    def nodes(self, volume: str, *, live: bool = False) -> frozenset[str]:
        """Nodes that have a volume mounted; with a live device only, if so asked."""
        return frozenset(m.node for m in self.mounts if m.volume == volume and (m.live or not live))

    def masters(self, address: str) -> tuple[str, ...]:
        """Hosts whose kernel has the service address: keepalived holds them MASTER."""
        return tuple(sorted(node for node, found in self.addresses.items() if address in found))


@dataclass(frozen=True, slots=True)
class Ec2:
    """EC2's records from the moment `at` on, up to the next."""

    at: float
    power: Mapping[str, str] = field(default_factory=dict)
    attached: Mapping[str, tuple[str, str] | None] = field(default_factory=dict)
    """Node and state of the attachment of each volume."""
    holder: Mapping[str, str | None] = field(default_factory=dict)
    """Node that holds each service address."""

    def is_off(self, node: str) -> bool:
        """Whether EC2 says that this node is off."""
        return self.power.get(node) in OFF

    def place(self, volume: str) -> str | None:
        """The node a volume is attached to, in whatever state."""
        found = self.attached.get(volume)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A command of the orchestrator that reached a node's agent."""

    at: float
    node: str
    verb: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Write:
    """A number that the client sent; `acknowledged` None if it never was."""

    number: int
    sent: float
    acknowledged: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it, each in the order of time."""

    volumes: tuple[str, ...]
    address: str
    looks: tuple[Look, ...] = ()
    records: tuple[Ec2, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    writes: tuple[Write, ...] = ()
    kept: frozenset[int] | None = None
    """Numbers in the ledger's files; None if nobody serves them."""
    ended: float = 0.0
    """When the evidence was taken."""
    began: float = 0.0
    """When the scenario began; moments are told from there."""

    def moment(self, at: float) -> str:
        """A moment for people."""
        return f"at +{at - self.began:.2f} s"

    def record(self, at: float) -> Ec2:
        """EC2's records as they were then."""
        return latest(self.records, at, lambda each: each.at) or Ec2(at)

    def look(self, at: float) -> Look:
        """The last look begun by then."""
        return latest(self.looks, at, lambda each: each.at) or Look(at)


def latest(values: Sequence[T], at: float, when: Callable[[T], float]) -> T | None:
    """The last of some values, in the order of time, that is not after a moment."""
    index = bisect.bisect_right(values, at, key=when)
    return values[index - 1] if index else None


def look_from(line: str) -> Look:
    """One line of the sampler."""
    found: dict[str, Any] = json.loads(line)
    return Look(
        found["at"],
        frozenset(Mount(*mount) for mount in found["mounts"]),
        {host: tuple(addresses) for host, addresses in found["addresses"].items()},
        found["epochs"],
    )


def writes_from(lines: Iterable[str]) -> tuple[Write, ...]:
    """The client's log, without a last line that is not whole."""
    sent: dict[int, float] = {}
    acknowledged: dict[int, float] = {}
    for line in lines:
        words = line.split()
        if line.endswith("\n") and len(words) == 3:
            (sent if words[0] == "S" else acknowledged)[int(words[1])] = float(words[2])
    return tuple(Write(number, at, acknowledged.get(number)) for number, at in sent.items())


def longest_silence(writes: Sequence[Write], since: float, until: float) -> float:
    """The longest time without an acknowledgement: the outage that the client saw."""
    times = [w.acknowledged for w in writes if w.acknowledged and since <= w.acknowledged <= until]
    edges = [since, *times, until]
    return max((late - early for early, late in pairwise(edges)), default=0.0)
