"""What the node script answers carries a word, and the publisher sends it with all the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node_publish.stage import ROOT, Node, stage, wait

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the node script runs as root")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A master, as its publisher knows."""
    with stage(tmp_path) as made:
        made.start()
        made.keepalived()
        wait(lambda: made.bus.words("start"), made)
        made.vrrp("MASTER")
        wait(lambda: made.bus.words("transition") and made.view["state"] == "MASTER", made)
        yield made


def answer(node: Node, action: str) -> dict[str, Any]:
    """The word of the node script's answer."""
    done = subprocess.run(
        [sys.executable, "-IS", str(ROOT / "node_hook/node.py"), action],
        env=node.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    [line] = done.stdout.splitlines()
    word: dict[str, Any] = json.loads(line)["word"]
    return word


def states(node: Node, after: int) -> list[str]:
    """The states told with a higher sequence than this."""
    return [word["state"] for word in node.bus.taken if word["sequence"] > after]


def test_an_answer_is_a_word_of_the_same_sequence(node: Node) -> None:
    """It is published as it was answered, between those before and those after it."""
    word = answer(node, "status")
    assert (word["kind"], word["state"]) == ("answer", "MASTER")
    wait(lambda: word in node.bus.taken, node)
    node.vrrp("BACKUP")
    wait(lambda: states(node, word["sequence"]) == ["BACKUP"], node)
    sequences = [said["sequence"] for said in node.bus.taken]
    assert sequences == sorted(set(sequences))


def test_an_answer_that_tells_an_older_state_is_not_the_last_word(node: Node) -> None:
    """The state changed while the answer was written: the publisher says the present one again."""
    seen = node.root / "run" / "state.json"
    seen.write_text(json.dumps({"state": "FAULT", "priority": 254, "since": 1.0}))
    word = answer(node, "status")
    assert word["state"] == "FAULT"
    wait(lambda: states(node, word["sequence"] - 1) == ["FAULT", "MASTER"], node)


def test_a_shutdown_that_says_stop_is_not_contradicted(node: Node) -> None:
    """keepalived is about to stop too; in between nobody claims again."""
    word = answer(node, "shutdown")
    assert word["state"] == "STOP"
    wait(lambda: word in node.bus.taken, node)
    node.vrrp("STOP")
    wait(lambda: states(node, word["sequence"]) == ["STOP"], node)
