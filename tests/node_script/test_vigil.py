"""When a service that fails costs a node its mastership: judged without clock, files or commands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_hook import lift
from node_hook.config import Health
from node_hook.hold import reasons
from node_hook.vigil import COOL_SECONDS, Watch, judge

HEALTH = Health(("/bin/true",), failures=3)


def after(*asked: tuple[int | None, bool | None], watch: Watch | None = None, now: float = 0.0) -> Watch:
    """The watch once all of this was seen: the epoch served, and how the service was."""
    found = watch or Watch()
    for serving, healthy in asked:
        found = judge(found, serving, healthy, HEALTH, now)
    return found


def test_failures_count_only_in_a_row() -> None:
    """Two, a success, two: not held. Three: held."""
    assert not after((7, False), (7, False), (7, True), (7, False), (7, False)).held
    assert after((7, False), (7, False), (7, False)).held


def test_only_an_owner_is_judged() -> None:
    """Nothing served: nothing counts, and what was counted before is forgotten."""
    assert not after(*[(None, False)] * 9).held
    assert not after((7, False), (7, False), (None, None), (7, False), (7, False)).held
    assert not after((0, False), (0, False), (0, False)).held, "mounts that no epoch accounts for"


def test_a_new_epoch_begins_anew() -> None:
    """An acquire was well when it ended: what failed before it is over."""
    assert not after((7, False), (7, False), (8, False), (8, False)).held


def test_held_until_it_works_again_or_a_while_after_the_resources_left() -> None:
    """Not at once when they leave: it would stand for election in the middle of the hand-over."""
    held = after((7, False), (7, False), (7, False))
    assert not after((7, True), watch=held).held
    left = after((None, None), watch=held, now=100.0)
    assert left.held
    assert after((None, None), watch=left, now=100.0 + COOL_SECONDS - 1).held
    assert not after((None, None), watch=left, now=100.0 + COOL_SECONDS + 1).held


@given(st.lists(st.tuples(st.sampled_from([None, 1, 2]), st.sampled_from([None, True, False]))))
def test_held_means_that_so_many_failed_in_a_row(seen: list[tuple[int | None, bool | None]]) -> None:
    """Whatever came before: a node is held only after three failures of one epoch with no success between."""
    watch = Watch()
    row: list[int] = []
    for serving, healthy in seen:
        before, watch = watch, judge(watch, serving, healthy, HEALTH, 0.0)
        if not serving or healthy or (row and row[-1] != serving):
            row = []
        if serving and healthy is False:
            row.append(serving)
        if watch.held and not before.held:
            assert len(row) >= HEALTH.failures


def test_a_hold_for_a_limited_time_is_taken_back_by_whoever_looks(tmp_path: object) -> None:
    """The job that put it up may have been killed; other reasons stay."""
    path = f"{tmp_path}/run/hold"
    lift.put(path, "handover", "given up by hand", 30.0)
    lift.put(path, "acquire", "no device", -1.0)
    assert lift.expired(path) == ["acquire"]
    assert list(reasons(path)) == ["handover"]
