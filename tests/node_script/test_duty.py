"""The node's decisions: for any sequence of commands in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_hook.duty import (
    ABSURD_JUMP,
    Go,
    Memory,
    Order,
    Refusal,
    after_acquire,
    after_local_release,
    after_release,
    judge,
    may_mount,
)

NOW = 1000.0
ORDERS = st.builds(
    Order,
    verb=st.sampled_from(["release", "acquire", "status"]),
    epoch=st.integers(0, 9),
    boot=st.sampled_from(["this", "other"]),
    deadline=st.sampled_from([NOW - 1, NOW + 1]),
    unless_master=st.booleans(),
)


def run(memory: Memory, order: Order, master: bool) -> tuple[Memory, bool]:
    """Execute one order as the script does, without interruption."""
    verdict = judge(order, memory, boot="this", now=NOW, master=master)
    if isinstance(verdict, Refusal):
        return memory, False
    memory = verdict.memory
    if order.verb == "release":
        memory = after_release(order, memory)
    if order.verb == "acquire":
        if may_mount(order, memory):
            return memory, False
        memory = after_acquire(order, memory)
    return memory, True


@given(st.lists(st.tuples(ORDERS, st.booleans())))
def test_an_older_epoch_is_never_executed(orders: list[tuple[Order, bool]]) -> None:
    """Once an epoch was accepted, no release or acquire below it is; the numbers only grow."""
    memory = Memory()
    for order, master in orders:
        before = memory
        memory, done = run(memory, order, master)
        assert memory.highest >= before.highest and memory.released >= before.released
        if done and order.verb != "status":
            assert order.epoch >= before.highest
        if done and order.verb == "acquire":
            assert order.epoch > before.released and order.boot == "this" and order.deadline > NOW
        if not done or order.verb == "status":
            assert memory == before or order.verb == "acquire"


@given(ORDERS, st.integers(0, 9), st.integers(0, 9))
def test_refusing_changes_nothing_and_going_remembers_first(
    order: Order, highest: int, released: int
) -> None:
    """A Go carries the memory that must be durable before anything is done."""
    verdict = judge(order, Memory(highest, min(highest, released)), boot="this", now=NOW, master=True)
    if isinstance(verdict, Go) and order.verb != "status":
        assert verdict.memory.highest == order.epoch
    if order.verb == "release" and order.unless_master:
        assert isinstance(verdict, Refusal)


def test_a_release_promises_the_epochs_before_it() -> None:
    """An Acquire of the same epoch may follow; a local release excludes all that were known."""
    order = Order("release", 7, deadline=NOW + 1)
    memory = after_release(order, Memory(6, 0, 6))
    assert memory == Memory(7, 6, None)
    assert isinstance(judge(Order("acquire", 7, "b", NOW + 1), memory, boot="b", now=NOW, master=False), Go)
    memory = after_local_release(memory)
    refusal = judge(Order("acquire", 7, "b", NOW + 1), memory, boot="b", now=NOW, master=False)
    assert isinstance(refusal, Refusal) and refusal.code == "older-epoch"


def test_a_challenge_of_a_master_changes_nothing() -> None:
    """`still-master` is an answer, not a refusal, and does not raise the epoch."""
    order = Order("release", 7, deadline=NOW + 1, unless_master=True)
    verdict = judge(order, Memory(6, 0, 6), boot="b", now=NOW, master=True)
    assert isinstance(verdict, Refusal) and verdict.result == "still-master" and verdict.code == ""
    assert judge(order, Memory(6, 0, 6), boot="b", now=NOW, master=False) == Go(Memory(7, 0, 6))


def test_an_absurd_jump_is_refused() -> None:
    """One command must not shut out every later one."""
    memory = Memory(5)
    for epoch, code in ((0, "absurd-epoch"), (5 + ABSURD_JUMP + 1, "absurd-epoch"), (10**12, "absurd-epoch")):
        verdict = judge(Order("release", epoch), memory, boot="b", now=NOW, master=False)
        assert isinstance(verdict, Refusal) and verdict.code == code
    assert isinstance(judge(Order("release", 5 + ABSURD_JUMP), memory, boot="b", now=NOW, master=False), Go)


def test_a_release_that_came_meanwhile_overtakes() -> None:
    """Asked again right before mounting."""
    order = Order("acquire", 7, "b", NOW + 1)
    assert may_mount(order, Memory(7, 6)) is None
    for memory in (Memory(8, 0), Memory(7, 7)):
        refusal = may_mount(order, memory)
        assert refusal is not None and refusal.code == "overtaken"


def test_a_late_rerun_does_not_undo_what_followed_it() -> None:
    """The agent runs a finished Release again after a restart; its Acquire has been executed since."""
    late = Order("release", 7, deadline=NOW - 60)
    verdict = judge(late, Memory(7, 6, 7), boot="b", now=NOW, master=False)
    assert isinstance(verdict, Refusal) and verdict.code == "past-deadline"
    assert isinstance(judge(late, Memory(7, 6, None), boot="b", now=NOW, master=False), Go)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (Order("handover", 7, "b", NOW + 1), None),
        (Order("handover", 0), None),
        (Order("handover", 6, "b", NOW + 1), "older-epoch"),
        (Order("handover", 7, "b", NOW - 1), "past-deadline"),
        (Order("handover", 7, "another", NOW + 1), "other-boot"),
    ],
)
def test_a_hand_over_that_an_agent_runs_again_is_refused(order: Order, code: str | None) -> None:
    """A person's names no epoch, boot or time; the orchestrator's is for one epoch, boot and moment."""
    memory = Memory(7, 6, 7)
    verdict = judge(order, memory, boot="b", now=NOW, master=True)
    assert (verdict.code if isinstance(verdict, Refusal) else None) == code
    assert isinstance(verdict, Refusal) or verdict.memory == memory
