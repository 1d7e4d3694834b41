"""One connection that stays warm, made anew when it breaks; and pauses between tries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_hook import sender
from tests.node_publish.stage import Node, stage, wait


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node with a publisher and a keepalived that says what the test says."""
    with stage(tmp_path) as made:
        made.start()
        made.keepalived()
        wait(lambda: made.bus.words("start"), made)
        yield made


def say_one_by_one(node: Node, *states: str) -> None:
    """Each is on the bus before the next is said."""
    for said, state in enumerate(states, len(node.bus.words("transition")) + 1):
        node.vrrp(state)
        wait(lambda said=said: len(node.bus.words("transition")) == said, node)  # type: ignore[misc]


def test_words_share_one_connection(node: Node) -> None:
    """A connection for each word would cost its round trips each time."""
    say_one_by_one(node, *["MASTER", "BACKUP"] * 5)
    assert node.bus.connections == 1


def test_a_connection_that_broke_is_made_anew(node: Node) -> None:
    """The other end closes it while it is idle: the word that finds out arrives all the same, once."""
    node.bus.hangs_up = True
    say_one_by_one(node, "MASTER", "BACKUP", "MASTER")
    assert [word["state"] for word in node.bus.words("transition")] == ["MASTER", "BACKUP", "MASTER"]
    assert node.bus.connections > 1


def test_the_oldest_python_will_do(tmp_path: Path) -> None:
    """The publisher runs on Python 3.9, as its distribution has it."""
    places = Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9")
    python = next((str(place) for place in places), None) or shutil.which("python3.9", path="/usr/bin")
    if python is None:
        pytest.skip("Python 3.9 is not installed here")
    with stage(tmp_path) as node:
        node.python = python
        # Its queues have been seen to wait for ever, one stop in three.
        for _ in range(4):
            node.ready()
            node.keepalived()
            say_one_by_one(node, "MASTER", "BACKUP")
            assert node.stop() == 0


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_are_bounded_and_differ(failures: int, share: float) -> None:
    """Doubled each time up to a bound, and never the same for all nodes of a fleet."""
    pause = sender.delay(failures, lambda: share)
    most = min(sender.MOST_SECONDS, sender.FIRST_SECONDS * 2 ** min(failures, 16))
    assert most / 2 <= pause <= most
    assert sender.delay(failures, lambda: 0.0) < sender.delay(failures, lambda: 0.99)
