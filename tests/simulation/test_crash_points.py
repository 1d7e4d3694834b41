"""Killed before or after any I/O, a driver leaves nothing that the sweep does not finish (L3)."""

from __future__ import annotations

import pytest

from tests.simulation.crash_points import SCENARIOS, survive
from tests.simulation.scope import Scope


@pytest.mark.slow
@pytest.mark.parametrize("scope", SCENARIOS, ids=lambda scope: scope.name)
def test_the_sweep_settles_whatever_a_dead_driver_left(scope: Scope) -> None:
    """For every k until the hand-over needs no further move of a driver."""
    kills = 0
    while survive(scope, kills).killed:
        kills += 1
    assert kills >= 4  # of a refused challenge: load, two commands, the outcomes
