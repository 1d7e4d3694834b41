"""What is remembered of a move cannot be wrong: a part that it does not name is hidden from it, and
a value whose identity may come to be another's is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.effects import effect
from tests.simulation.moves import begin
from tests.simulation.pool import forget
from tests.simulation.scope import Scope
from tests.simulation.world import World


@pytest.fixture
def world() -> World:
    """Settled on a."""
    forget()
    return begin(Scope("effects", ""))


def _looks_elsewhere(world: World) -> World:
    return world.with_(bus=()) if world.drivers else world


def _changes_elsewhere(world: World) -> World:
    return world.with_(drivers=())


@pytest.mark.parametrize("does", [_looks_elsewhere, _changes_elsewhere])
def test_a_part_that_a_move_does_not_name_is_hidden_from_it(
    world: World, does: Callable[[World], World]
) -> None:
    """Whether it looks there or changes something there: else it would be remembered for all drivers."""
    with pytest.raises(TypeError, match="a part of the world that it does not name"):
        effect("bus", does, world)()


def _says(scope: Scope, world: World) -> World:
    return world.with_(played=len(scope.happenings))


def test_a_value_that_may_be_gone_tomorrow_is_refused(world: World) -> None:
    """The next scope could get its place in memory, and with it what was remembered of it."""
    with pytest.raises(TypeError, match="_says is remembered by values that are gone tomorrow"):
        effect("played", _says, Scope("passing", ""), world)()


def test_the_scope_of_a_world_stays_as_long_as_the_pool() -> None:
    """Each story and history begins with one of its own, and lets it go."""
    forget()
    seen: set[int] = set()
    for number in range(8):
        scope = Scope(f"story {number}", "")
        begin(scope)
        seen.add(id(scope))
    assert len(seen) == 8
