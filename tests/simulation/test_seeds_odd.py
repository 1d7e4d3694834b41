"""Random histories of odd seeds: chaos, then healing, and the world settles."""

from __future__ import annotations

import pytest

from tests.simulation.seeds import PARTS, play


@pytest.mark.slow
@pytest.mark.timeout(390)
@pytest.mark.parametrize("part", range(1, PARTS, 2))
def test_every_seed_settles_after_its_chaos(part: int) -> None:
    """Safety at every step, and progress once the faults stop."""
    play(part)
