"""Explore a scope to its end: every interleaving, every state once, every guarantee at each step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.simulation import physics
from tests.simulation.canonical import canonical
from tests.simulation.moves import begin
from tests.simulation.reduction import Budgets, fewer
from tests.simulation.scope import Scope, Step, is_done
from tests.simulation.world import MARK, World

STATES_MOST = 100_000_000
"""Some 80 GB of memory: a scope that comes so far is not small, and is not called explored."""


@dataclass
class Found:
    """What an exploration found."""

    scope: str
    states: int = 0
    edges: int = 0
    settled: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    broken: physics.Broken | None = None
    trace: tuple[str, ...] = ()

    def line(self) -> str:
        """The figures, for people."""
        verdict = "ok" if self.broken is None else str(self.broken)
        return (
            f"{self.scope:28} {self.states:>9,} states {self.edges:>10,} edges "
            f"{self.settled:>7,} settled {self.seconds:6.1f} s  {verdict}"
        )


def explore(
    scope: Scope,
    *,
    report: Callable[[Found, int], None] = lambda found, waiting: None,
) -> Found:
    """Breadth first, so that a broken guarantee comes with a shortest story.

    Each path ends settled (or blocked where the scope allows it) within the scope's horizon of
    virtual time, or L1 is broken: so a settled state is reachable from every state (L2), on every
    path. `report` is told after each layer: what was found, and how many states wait.
    """
    found = Found(scope.name)
    began = time.perf_counter()
    search = Search(scope, found, fewer)
    layer = [search.first]
    while layer and found.broken is None:
        layer = search.layer(layer)
        found.states = len(search.parents)
        found.seconds = time.perf_counter() - began
        if found.states > STATES_MOST:
            raise RuntimeError(f"{scope.name}: more than {STATES_MOST:,} states")
        report(found, len(layer))
    return found


class Search:
    """An exploration under way: every state's key, and the key of the one that it was met from."""

    def __init__(
        self, scope: Scope, found: Found, possible: Callable[[Scope, World], Iterator[Step]]
    ) -> None:
        self._scope = scope
        self._found = found
        self._possible = possible
        self._budgets = Budgets()
        self.first = canonical(scope, begin(scope))
        self.parents: dict[bytes, bytes] = {self.first.key(): b""}

    def layer(self, worlds: list[World]) -> list[World]:
        """Every world that one move leads to from these, and that was not met before."""
        following: list[World] = []
        for world in worlds:
            self._found.settled += is_done(self._scope, world)
            label = "time passes"
            try:
                for step in self._possible(self._scope, world):
                    label = step.label
                    self._meet(world, step, following)
            except physics.Broken as broken:
                self._found.broken = broken
                self._found.trace = (*self._story(world.key()), label)
                return []
        return following

    def _meet(self, world: World, step: Step, following: list[World]) -> None:
        self._found.edges += 1
        self._found.kinds[step.kind] += 1
        after = canonical(self._scope, step.world, world)
        key = after.key()
        if key in self.parents:
            return
        physics.check(after)
        rest = key[:-MARK]
        above = self._budgets.above(after.left, key[-MARK:])
        if any(rest + mark in self.parents for mark in above):
            return
        self.parents[key] = world.key()
        following.append(after)

    def _story(self, end: bytes) -> tuple[str, ...]:
        """The moves that lead to a state: its ancestors are known, each a move from the next."""
        keys = [end]
        while self.parents[keys[-1]]:
            keys.append(self.parents[keys[-1]])
        world, labels = self.first, []
        for key in reversed(keys[:-1]):
            step = next(s for s in self._possible(self._scope, world) if self._leads(world, s, key))
            labels.append(step.label)
            world = canonical(self._scope, step.world, world)
        return tuple(labels)

    def _leads(self, world: World, step: Step, key: bytes) -> bool:
        return canonical(self._scope, step.world, world).key() == key
