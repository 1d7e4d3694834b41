"""Every guard matters: taken out of the shipped source, a named story goes otherwise, or a named
test fails.

The stories and tests themselves are the control: unmutated, all go as they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.mutants import kill
from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS, PUT_BACK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """A copy of what a story needs, one for each process that runs tests."""
    with TemporaryDirectory() as directory:
        kill.copy(Path(directory))
        yield Path(directory)


def test_the_control_is_missed_by_nobody(source: Path) -> None:
    """A copy with every guard in place tells each named story as it is written, and no test fails."""
    assert kill.missed_by(source, sorted({mutant.story for mutant in MUTANTS if mutant.story})) == []
    assert not kill.fails(source, *sorted({mutant.test for mutant in MUTANTS if mutant.test}))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_a_guard_is_missed(source: Path, mutant: Mutant) -> None:
    """The patch applies, and the story or test that needs the guard notices."""
    assert bool(mutant.story) != bool(mutant.test)
    with kill.mutated(source, mutant):
        if mutant.story:
            assert kill.missed_by(source, [mutant.story]) == [mutant.story]
        else:
            assert kill.fails(source, mutant.test)


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    """A table with a row twice would count one guard for two."""
    assert len({mutant.guard for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_every_old_bug_is_put_back_by_a_row() -> None:
    """The stories that broke the first drafts, and the defects of today's tools."""
    assert set(PUT_BACK.values()) <= {mutant.guard for mutant in MUTANTS}
    assert len(PUT_BACK) >= 16
