"""What an exploration leaves out is nothing: canonical worlds go on like those that they stand for,
and fewer moves lead wherever all moves lead."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import astuple

import pytest

from chalicelib.model import FencePolicy
from tests.simulation.canonical import canonical
from tests.simulation.explore import Found, Search
from tests.simulation.instant import instant
from tests.simulation.moves import begin, moves
from tests.simulation.pool import forget
from tests.simulation.reduction import fewer
from tests.simulation.scope import Scope, Step
from tests.simulation.world import MARK, Left, World

FAULTS = Left(deaths=2, copies=2, losses=2, unknowns=2, throttles=1, doubles=1, lates=1, pauses=1, stales=1)
WALKS = (
    "a BACKUP ; ? b MASTER ; ? a off",
    "a MASTER ; ? a BACKUP ; ? b MASTER ; ? b BACKUP ; ? a MASTER",
    "a hangs ; ? a thaws ; ? b off",
    "a agent-dies ; ? b MASTER ; ? a agent-up",
    "a boots ; ? b boots",
    "b MASTER ; ? v at nowhere ; ? a BACKUP",
    "a ill health ; ? a boots ; ? a ill",
)
POLICIES = (FencePolicy.STOP, FencePolicy.STOP, FencePolicy.FORCE_DETACH, FencePolicy.NONE)
SMALL = (
    Scope("crash", "a off", left=Left(deaths=1, copies=1)),
    Scope("contested", "b MASTER ; a BACKUP", elects=False, left=Left(deaths=1)),
    Scope("refused", "b MASTER ; b BACKUP", elects=False, left=Left(losses=1)),
    Scope("handed over", "a STOP", left=Left(unknowns=1)),
    Scope("held up", "a STOP", left=Left(lates=1)),
    Scope("frozen", "a off", left=Left(pauses=1)),
    Scope("boots", "a boots", left=Left(deaths=1, doubles=1)),
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(56))
def test_a_canonical_world_goes_on_like_those_that_it_stands_for(seed: int) -> None:
    """The same moves are possible in both, and lead to worlds that are alike again."""
    forget()
    dice = random.Random(seed)
    scope = walk(seed, dice)
    world = begin(scope)
    for _ in range(300):
        twin = canonical(scope, world)
        steps = list(moves(scope, world))
        assert _ahead(scope, steps) == _ahead(scope, list(moves(scope, twin)))
        if not steps:
            return
        calm = [step for step in steps if not step.kind]
        world = dice.choice(calm if calm and dice.random() < 0.5 else steps).world


def walk(seed: int, dice: random.Random) -> Scope:
    """A world in which much can happen: each script, policy and number of nodes in its turn."""
    return Scope(
        "walk",
        WALKS[seed % len(WALKS)],
        nodes=("a", "b", "c") if dice.random() < 0.3 else ("a", "b"),
        left=FAULTS,
        elects=dice.random() < 0.5,
        adopted=dice.random() < 0.8,
        horizon_seconds=float("inf"),
        settings=(("fence", POLICIES[seed % len(POLICIES)]),),
    )


def _ahead(scope: Scope, steps: list[Step]) -> set[tuple[str, bytes]]:
    return {(step.label, canonical(scope, step.world).key()) for step in steps}


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
