"""The epoch file: durable, whole, and written even when the disk is full."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from node_hook.duty import Go, Memory, Refusal
from node_hook.epochs import Epochs, Locked, StateError, work
from node_hook.paths import Paths, paths_from


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Paths whose state is in a directory of the test's own."""
    return paths_from({"state": str(tmp_path)})


def test_what_was_decided_is_there_in_the_next_process(paths: Paths) -> None:
    """A Go is written, a refusal is not; another boot serves nothing."""
    epochs = Epochs(paths, "one")
    assert epochs.read() == Memory()
    epochs.decide(lambda memory: Go(Memory(7, 6, 7)))
    epochs.decide(lambda memory: Refusal("older-epoch", ""))
    assert Epochs(paths, "one").read() == Memory(7, 6, 7)
    assert Epochs(paths, "two").read() == Memory(7, 6, None)
    assert not Path(paths.epoch + ".new").exists()


def test_a_damaged_file_is_said_and_not_guessed(paths: Paths) -> None:
    """Empty, half, or with another content."""
    for text in (
        "",
        "{",
        "[]",
        '{"highest": 1}',
        '{"highest": null, "released": 0, "serving": null, "boot": ""}',
    ):
        Path(paths.epoch).write_text(text)
        with pytest.raises(StateError, match=r"node\.py reset"):
            Epochs(paths, "one").read()


def test_who_holds_the_lock(paths: Paths) -> None:
    """A second one is told the first one's name, job and delay."""
    with work(paths, "release, epoch 7", 0.0), pytest.raises(Locked) as caught:
        with work(paths, "acquire, epoch 8", 0.0):
            pass
    assert f"process {os.getpid()} (release, epoch 7)" in str(caught.value)
    assert "past its deadline" in str(caught.value)
    with work(paths, "again", 0.0):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs")
def test_a_full_disk_does_not_stop_a_release(tmp_path: Path) -> None:
    """The epoch is raised all the same, in place."""
    script = f"""
        mount -t tmpfs -o size=64k none {tmp_path} && cd {tmp_path}
        echo '{{"version":1,"highest":1,"released":0,"serving":1,"boot":"b"}}' > epoch.json
        touch {tmp_path}/epoch.json.lock; dd if=/dev/zero of={tmp_path}/fill bs=4k 2>/dev/null
        python3 -c '
import sys; sys.path.insert(0, "{Path(__file__).resolve().parents[2]}")
from node_hook.duty import Memory
from node_hook.epochs import Epochs
from node_hook.paths import paths_from
Epochs(paths_from({{"state": "{tmp_path}"}}), "b").change(lambda memory: Memory(2, 1, None))
' && cat {tmp_path}/epoch.json
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["highest"] == 2
