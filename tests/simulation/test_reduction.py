"""What an exploration leaves out is nothing: canonical worlds go on like those that they stand for,
and fewer moves lead wherever all moves lead."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import astuple

import pytest

from tests.simulation.canonical import canonical
from tests.simulation.explore import Found, Search
from tests.simulation.instant import instant
from tests.simulation.moves import begin, moves
from tests.simulation.pool import forget
from tests.simulation.reduction import fewer
from tests.simulation.scope import Scope, Step
from tests.simulation.world import MARK, Left, World

FAULTS = Left(deaths=2, copies=2, losses=2, unknowns=2, throttles=1, doubles=1, lates=1, pauses=1, stales=1)
WORDS = "a BACKUP ; ? b MASTER ; ? a off"
SMALL = (
    Scope("crash", "a off", left=Left(deaths=1, copies=1)),
    Scope("contested", "b MASTER ; a BACKUP", elects=False, left=Left(deaths=1)),
    Scope("refused", "b MASTER ; b BACKUP", elects=False, left=Left(losses=1)),
    Scope("handed over", "a STOP", left=Left(unknowns=1)),
    Scope("held up", "a STOP", left=Left(lates=1)),
    Scope("frozen", "a off", left=Left(pauses=1)),
    Scope("boots", "a boots", left=Left(deaths=1, doubles=1)),
)


@pytest.mark.parametrize("seed", range(12))
def test_a_canonical_world_goes_on_like_those_that_it_stands_for(seed: int) -> None:
    """The same moves are possible in both, and lead to worlds that are alike again."""
    forget()
    dice = random.Random(seed)
    scope = Scope("walk", WORDS, left=FAULTS, elects=bool(seed % 2))
    world = begin(scope)
    for _ in range(150):
        twin = canonical(world)
        steps = list(moves(scope, world))
        assert _ahead(steps) == _ahead(list(moves(scope, twin)))
        if not steps:
            return
        world = dice.choice(steps).world


def _ahead(steps: list[Step]) -> list[tuple[str, bytes]]:
    return sorted((step.label, canonical(step.world).key()) for step in steps)


@pytest.mark.slow
@pytest.mark.parametrize("scope", SMALL, ids=lambda scope: scope.name)
def test_fewer_moves_lead_wherever_all_moves_lead(scope: Scope) -> None:
    """Each world in which nobody can move is met either way, perhaps with more faults left."""
    forget()
    every, few = _quiet(scope, moves), _quiet(scope, fewer)
    assert set(few) == set(every)
    assert len(few) > 20
    for world, budgets in every.items():
        for left in budgets:
            assert any(_includes(more, left) for more in few[world])


def _includes(more: Left, less: Left) -> bool:
    return all(a >= b for a, b in zip(astuple(more), astuple(less), strict=True))


def _quiet(scope: Scope, possible: Callable[[Scope, World], Iterator[Step]]) -> dict[bytes, set[Left]]:
    """The worlds that are met in which nobody can move before time passes: what faults are left."""
    search = Search(scope, Found(scope.name), possible)
    quiet: dict[bytes, set[Left]] = defaultdict(set)
    layer = [search.first]
    while layer:
        for world in layer:
            if next(instant(scope, world), None) is None:
                quiet[world.key()[:-MARK]].add(world.left)
        layer = search.layer(layer)
    return quiet
