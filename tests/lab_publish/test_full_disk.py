"""A disk that is full, for real: a small tmpfs under the spool."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node_publish.stage import Node, stage, wait


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node; what a test mounts under its state directory is unmounted."""
    with stage(tmp_path) as made:
        yield made
    subprocess.run(["umount", "-l", tmp_path / "state"], check=False, timeout=10, stderr=subprocess.DEVNULL)


def disk(node: Node, size: str) -> None:
    """Put the node's state on a filesystem of this size."""
    target = str(node.root / "state")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", target], check=True, timeout=10)


def fill(node: Node) -> None:
    """Write until there is no space."""
    with pytest.raises(OSError, match="No space"), open(node.root / "state" / "filler", "wb", 0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_spool_that_exists_needs_no_space(node: Node) -> None:
    """The disk fills up afterwards: words are as durable as before, over kill -9 too."""
    disk(node, "2m")
    node.ready()
    node.keepalived()
    fill(node)
    node.bus.behave = lambda call, entries: (500, {})
    for _ in range(20):
        node.vrrp("MASTER")
        node.vrrp("BACKUP")
    wait(lambda: len(node.spooled()) == 41, node)
    assert "kept in memory" not in node.log
    node.kill()
    node.bus.behave = lambda call, entries: None
    node.ready()
    assert len(node.bus.words("transition")) == 40


def test_a_disk_full_from_the_start(node: Node) -> None:
    """No space for a spool: words are kept in memory, published, and durable once there is space."""
    disk(node, "400k")
    fill(node)
    node.start()
    wait(lambda: node.bus.words("start"), node)
    node.keepalived()
    node.vrrp("MASTER")
    wait(lambda: node.bus.words("transition"), node)
    assert "No space left" in node.log
    (node.root / "state" / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=2m", node.root / "state"], check=True, timeout=10)
    node.vrrp("BACKUP")
    wait(lambda: node.bus.words("transition")[-1]["state"] == "BACKUP", node)
    assert [word["state"] for word in node.spooled()] == ["BACKUP"]
    sequences = [word["sequence"] for word in node.bus.taken]
    assert sequences == sorted(set(sequences))
