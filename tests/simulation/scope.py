"""A small world to explore: who is there, what happens in it, and which faults may happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chalicelib.model import Attached, Cluster, Vrrp
from tests.simulation.pool import intern
from tests.simulation.world import Left, World

SWEEP_SECONDS = 60.0
"""How often the sweep runs."""


@dataclass(frozen=True)
class Scope:
    """A small world to explore: who is there, what happens, and which faults may happen."""

    name: str
    script: str
    nodes: tuple[str, ...] = ("a", "b")
    volumes: tuple[str, ...] = ("v",)
    left: Left = field(default_factory=Left)
    elects: bool = True
    """Whether keepalived elects by itself; else only the script says who is MASTER."""
    adopted: bool = True
    """Begin settled on the first node; else in a world that Baton has not seen yet."""
    drivers: int = 2
    horizon_seconds: float = 900.0
    may_block: bool = False
    rests: bool = True
    """Whether time stands still once all is settled and nothing more is to happen."""
    settings: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster's definition."""
        definition = Cluster("c", self.nodes, self.volumes, ("10.0.0.9",), **dict(self.settings))
        return intern(definition)

    @cached_property
    def happenings(self) -> tuple[tuple[str, ...], ...]:
        """The script's lines: `;` begins the next; one with `~` waits until all is quiet."""
        lines = [line.strip() for line in self.script.split(";")]
        return tuple(tuple(line.split()) for line in lines if line)


class Step:
    """A move: what it is called, the kind of fault it is ("" for none), and where it leads.

    Where it leads is found out when asked: a random walk asks for one of many.
    """

    __slots__ = ("_make", "_world", "kind", "label")

    def __init__(self, label: str, kind: str, make: Callable[[], World]) -> None:
        self.label = label
        self.kind = kind
        self._make = make
        self._world: World | None = None

    @property
    def world(self) -> World:
        """The next world. Raises Broken if a guarantee is broken on the way."""
        if self._world is None:
            self._world = self._make()
        return self._world


def is_done(scope: Scope, world: World, *, scripted: bool = True) -> bool:
    """Whether the world has come to rest where it should: settled, by all that can be seen."""
    record = world.record
    if scripted and world.played < len(scope.happenings):
        return False
    if world.drivers or world.bus or not record.settled or record.owner is None:
        return False
    owner = world.host(record.owner)
    masters = [h.name for h in world.hosts if h.vrrp is Vrrp.MASTER and h.runs]
    elected = masters == [owner.name] or (not masters and not scope.elects)
    serves = owner.mounted and owner.memory.serving == record.epoch and owner.runs
    holds = world.cloud.holder == owner.name and has_devices(scope, world, owner.name)
    return serves and elected and holds


def has_devices(scope: Scope, world: World, name: str) -> bool:
    """Whether every volume is attached to this node, and nowhere on its way."""
    here = {a.volume for a in world.cloud.attachments if a.node == name and a.state is Attached.ATTACHED}
    return here >= set(scope.volumes)
