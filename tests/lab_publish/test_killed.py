"""kill -9 at each step of the publisher's way: strace kills it at a system call of our choice."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.node_publish.stage import Node, stage, wait

STEPS = [
    ("fdatasync", 1),
    ("fdatasync", 3),
    ("pwrite64", 4),
    ("pwrite64", 7),
    ("flock", 6),
    ("sendto", 2),
    ("sendto", 5),
    ("recvfrom", 2),
    ("rename", 3),
]
"""The call and its how-manieth: making a word durable, sending it, hearing that it was taken,
acknowledging it, showing it."""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(("call", "when"), STEPS)
def test_killed_at(tmp_path: Path, call: str, when: int) -> None:
    """What was durable arrives after a restart; no sequence ever stands for two words."""
    with stage(tmp_path) as node:
        inject = f"inject={call}:signal=SIGKILL:when={when}"
        node.prefix = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        node.start()
        _play_until_killed(node)
        durable = node.spooled()
        node.prefix = ()
        node.ready()
        wait(lambda: {w["sequence"] for w in durable} <= {w["sequence"] for w in node.bus.taken}, node)
        assert _one_word_each(node.bus.taken + durable)
        assert node.bus.taken[-1]["kind"] == "start"
        assert node.bus.taken[-1]["sequence"] == max(word["sequence"] for word in node.bus.taken)


def _play_until_killed(node: Node) -> None:
    assert node.process is not None
    deadline = time.monotonic() + 15
    states = ["MASTER", "BACKUP"]
    while node.process.poll() is None:
        assert time.monotonic() < deadline, f"the fault did not occur\n{node.log}"
        if (node.root / "run" / "vrrp.fifo").exists():
            node.vrrp(states[0])
            states.reverse()
        time.sleep(0.05)


def _one_word_each(words: list[dict[str, Any]]) -> bool:
    known: dict[int, dict[str, Any]] = {}
    return all(known.setdefault(word["sequence"], word) == word for word in words)
