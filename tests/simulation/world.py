"""The state of a small world: hosts, EC2, SSM, the record, and drivers. Values only.

A world is a tuple of interned components: two worlds are equal if their components are the same
objects, so a state costs a tuple of pointers and comparing it costs nothing. A driver is the list
of replies that the real `reconcile` was given since its turn began; the generator is made anew and
fed with them, which is how a generator can be copied.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from struct import Struct
from typing import Any, NamedTuple

from chalicelib.model import Action, Answer, Attached, Cluster, Command, Mutation, Power, Record, Vrrp, Word
from chalicelib.progress import Done
from chalicelib.reconcile import Load, Reply, Request, Take, finish, turn
from node_hook import duty
from tests.simulation.pool import cache, intern, numbers, remember

START = 1000.0
"""When worlds begin, POSIX seconds: late enough for words that are older than they may be."""


@dataclass(frozen=True, slots=True)
class Host:
    """A node as it is, which is more than it says."""

    name: str
    power: Power = Power.RUNNING
    boot: int = 1
    vrrp: Vrrp = Vrrp.BACKUP
    priority: int = 100
    sequence: int = 0
    memory: duty.Memory = field(default_factory=duty.Memory)
    mounted: bool = False
    """Its filesystem is mounted, with a live device or without."""
    executed: int = 0
    """Checker's own: the highest epoch of any command that had an effect here."""
    agent: bool = True
    hung: bool = False
    acquiring: Mail | None = None
    next_beat: float = 0.0
    boots_at: float | None = None
    ill: str = ""
    """Code with which every Acquire fails here: damaged, health, …"""

    @property
    def boot_id(self) -> str:
        return f"{self.name}/{self.boot}"

    @property
    def runs(self) -> bool:
        """Whether its processes run: on, and not frozen."""
        return self.power is Power.RUNNING and not self.hung and self.boots_at is None


@dataclass(frozen=True, slots=True)
class Mail:
    """A command on its way to a node's agent."""

    id: str
    command: Command


class At(NamedTuple):
    """A volume's attachment."""

    volume: str
    node: str
    device: str
    state: Attached


@dataclass(frozen=True, slots=True)
class Late:
    """A call whose outcome nobody knows and which may still take effect, until a moment."""

    action: Mutation
    until: float


@dataclass(frozen=True, slots=True)
class Cloud:
    """EC2 and SSM."""

    attachments: tuple[At, ...] = ()
    holder: str | None = None
    """The node that holds the service address."""
    mail: tuple[Mail, ...] = ()
    answers: tuple[tuple[str, Answer], ...] = ()
    late: tuple[Late, ...] = ()
    sticks: bool = False
    """Stops stay in `stopping`."""
    shown: tuple[At, ...] | None = None
    """Attachments that Describes show although they are others by now; None if none are stale."""
    stale_until: float | None = None
    boot_seconds: float = 8.0
    """From EC2's `running` to the host's first word."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One invocation of the Lambda. `replies`: what it was told since its turn began."""

    holder: str
    taken: bool = False
    replies: tuple[Reply, ...] = ()
    done: tuple[Done, ...] = ()
    """Outcomes of the actions of one Act, as far as they were performed."""
    wakes_at: float | None = None
    frozen_until: float | None = None
    ends: tuple[tuple[Action, ...], float | None, Record] | None = None
    """How its turn ends, if only that matters of it any more; `replies` are those since then."""

    @property
    def is_awake(self) -> bool:
        """Whether it can move before time passes."""
        return self.wakes_at is None and self.frozen_until is None


@dataclass(frozen=True, slots=True)
class Left:
    """How many faults of each kind may still happen."""

    deaths: int = 0
    copies: int = 0
    losses: int = 0
    unknowns: int = 0
    throttles: int = 0
    slow: int = 0
    doubles: int = 0
    lates: int = 0
    pauses: int = 0
    stales: int = 0

    def text(self) -> str:
        """For people: `deaths 2, copies 1`; nothing if nothing is left."""
        return ", ".join(f"{name} {count}" for name, count in asdict(self).items() if count)


_MOMENTS: dict[Any, int] = cache()
_KEY = Struct("<7I")
MARK = 4
"""Bytes at the end of a world's key that stand for the faults that are left."""

_interned = itemgetter(1, 2, 3, 4, 5, 7)


class World(NamedTuple):
    """Everything. Components are interned."""

    now: float
    record: Record
    hosts: tuple[Host, ...]
    cloud: Cloud
    drivers: tuple[Driver, ...]
    bus: tuple[Word, ...]
    played: int
    """How many of the scope's scripted happenings have happened."""
    left: Left
    sweep_at: float

    def key(self) -> bytes:
        """What tells this world from every other, as long as the pool lives: small, for millions."""
        moment = (self.now, self.played, self.sweep_at)
        number = _MOMENTS.setdefault(moment, len(_MOMENTS))
        return _KEY.pack(number, *numbers(_interned(self)))

    def host(self, name: str) -> Host:
        """A host by name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(f"there is no host {name}")

    def with_(self, **parts: Any) -> World:
        """A world with some components changed."""
        return self._replace(**{name: intern(part) for name, part in parts.items()})

    def with_host(self, host: Host) -> World:
        """A world with this host in place of its former self."""
        hosts = tuple(host if h.name == host.name else h for h in self.hosts)
        return self.with_(hosts=hosts)

    def with_driver(self, driver: Driver, *, gone: bool = False) -> World:
        """A world with this driver in place of its former self, or without it."""
        others = [d for d in self.drivers if d.holder != driver.holder]
        mine = [] if gone else [driver]
        return self.with_(drivers=tuple(sorted((*others, *mine), key=lambda d: d.holder)))


def volume_is_at(world: World, name: str) -> bool:
    """Whether a host has a device that works."""
    return any(a.node == name and a.state is not Attached.ATTACHING for a in world.cloud.attachments)


_REQUESTS = cache()
_STANDING = cache()
"""Generators as they stand, by the state of the driver that one of them is: to be used up by who
goes on from there first; whoever comes later runs one anew."""


def request(cluster: Cluster, driver: Driver) -> Request | bool:
    """What a driver asks for next; True if its turn is over and another begins, False if it ends.

    The real generator is given the replies so far.
    """
    if not driver.taken:
        return _before(driver)
    key = (id(cluster), driver.holder, id(driver.ends), *map(id, driver.replies))
    asked: Request | bool | None = _REQUESTS.get(key)
    if asked is None:
        asked = _ask(cluster, driver, key)
        remember(_REQUESTS, key, asked, most=300_000)
    return asked


def _ask(cluster: Cluster, driver: Driver, key: tuple[Any, ...]) -> Request | bool:
    steps = _STANDING.pop(key[:-1], None) if driver.replies else None
    asked: Request
    try:
        if steps is not None:
            asked = steps.send(driver.replies[-1])
        else:
            steps, asked = _replay(cluster, driver)
    except StopIteration as end:
        return bool(end.value)
    remember(_STANDING, key, steps, most=20_000)
    return asked


def _replay(cluster: Cluster, driver: Driver) -> tuple[Generator[Request, Reply, bool], Request]:
    steps = turn(cluster, driver.holder) if driver.ends is None else finish(*driver.ends)
    asked = next(steps)
    for reply in driver.replies:
        asked = steps.send(reply)
    return steps, asked


def _before(driver: Driver) -> Request | bool:
    """The two requests before the first turn, as `reconcile` makes them."""
    if not driver.replies:
        return Load()
    if len(driver.replies) == 1:
        record = driver.replies[0]
        if not isinstance(record, Record):
            raise TypeError("Load is answered with a Record")
        return Take(record)
    return driver.replies[1] is not None
