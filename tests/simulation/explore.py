"""Explore a scope to its end: every interleaving, every state once, every guarantee at each step."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation import physics
from tests.simulation.moves import begin, moves
from tests.simulation.scope import Scope, is_done
from tests.simulation.world import World


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


def explore(scope: Scope, *, states_most: int = 50_000_000) -> Found:
    """Breadth first, so that a broken guarantee comes with a shortest story.

    Each path ends settled (or blocked where the scope allows it) within the scope's horizon of
    virtual time, or L1 is broken: so a settled state is reachable from every state (L2), on every
    path.
    """
    found = Found(scope.name)
    began = time.perf_counter()
    first = begin(scope)
    parents: dict[tuple[int, ...], tuple[tuple[int, ...], str] | None] = {first.key(): None}
    layer: list[World] = [first]
    while layer and found.broken is None:
        layer = _layer(scope, layer, parents, found)
        if len(parents) > states_most:
            raise RuntimeError(f"{scope.name}: more than {states_most:,} states")
    found.states = len(parents)
    found.seconds = time.perf_counter() - began
    return found


def _layer(
    scope: Scope,
    layer: list[World],
    parents: dict[tuple[int, ...], tuple[tuple[int, ...], str] | None],
    found: Found,
) -> list[World]:
    following: list[World] = []
    for world in layer:
        if is_done(scope, world):
            found.settled += 1
        label = "time passes"
        try:
            for step in moves(scope, world):
                label = step.label
                found.edges += 1
                found.kinds[step.kind] += 1
                key = step.world.key()
                if key not in parents:
                    physics.check(step.world)
                    parents[key] = (world.key(), step.label)
                    following.append(step.world)
        except physics.Broken as broken:
            found.broken = broken
            found.trace = (*_story(parents, world.key()), label)
            return []
    return following


def _story(
    parents: dict[tuple[int, ...], tuple[tuple[int, ...], str] | None], key: tuple[int, ...]
) -> tuple[str, ...]:
    labels: list[str] = []
    while (parent := parents[key]) is not None:
        key, label = parent
        labels.append(label)
    return tuple(reversed(labels))
