"""How long until the next try, however many there were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import timing
from chalicelib.asking import backoff

FIRST = pytest.mark.parametrize("first", [timing.NOT_YET_SECONDS, timing.RETRY_SECONDS])


@FIRST
def test_the_interval_doubles_until_its_cap(first: float) -> None:
    """The first tries are as far apart as they should be, and later ones never further."""
    assert [backoff(tries, first) for tries in (0, 1, 2, 3)] == [first, first, 2 * first, 4 * first]
    assert backoff(20, first) == timing.RETRY_MOST_SECONDS


@FIRST
@given(tries=st.integers(0, 10**9))
def test_it_holds_for_as_many_tries_as_there_may_be(first: float, tries: int) -> None:
    """A node that is mute for four days is asked more often than a float can double."""
    assert first <= backoff(tries, first) <= backoff(tries + 1, first) <= timing.RETRY_MOST_SECONDS
