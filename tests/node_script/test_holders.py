"""Who is named as a holder, and who may never be signalled, read from a process table of the test's own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from node_hook import holders
from node_hook.holders import Where


def process(proc: Path, pid: int, cwd: Path) -> None:
    """An entry of /proc."""
    task = proc / str(pid) / "task" / str(pid)
    task.mkdir(parents=True)
    (task / "cwd").symlink_to(cwd)
    (proc / str(pid) / "comm").write_text("worker\n")


@pytest.fixture
def where(tmp_path: Path) -> Where:
    """The filesystem that the test's folder is on."""
    device = tmp_path.stat().st_dev
    return Where({f"{os.major(device)}:{os.minor(device)}"}, set())


def test_process_1_is_named_and_never_signalled(tmp_path: Path, where: Where) -> None:
    """Nor are our parents, in whose name we run."""
    proc = tmp_path / "proc"
    parent = 4241
    for pid in (1, parent, 4242):
        process(proc, pid, tmp_path)
    (proc / str(os.getpid())).mkdir()
    (proc / str(os.getpid()) / "stat").write_text(f"{os.getpid()} (python (3)) S {parent} 0 0")
    (proc / str(parent) / "stat").write_text(f"{parent} (agent) S 1 0 0")
    found = {holder.pid: holder for holder in holders.find(where, time.time() + 5, str(proc))}
    assert {pid: holder.protected for pid, holder in found.items()} == {1: True, parent: True, 4242: False}
    spared = [found[1], found[parent]]
    assert holders.tell(spared, where, signal.SIGKILL, str(proc)) == []
    named = holders.name_them(found.values(), {4242: "TERM"})
    assert {entry["pid"]: entry.get("signal") for entry in named} == {1: None, parent: None, 4242: "TERM"}


def test_the_same_path_on_another_device_is_nobody_of_ours(tmp_path: Path) -> None:
    """What counts is the device."""
    process(tmp_path / "proc", 4242, tmp_path)
    assert holders.find(Where({"250:77"}, set()), time.time() + 5, str(tmp_path / "proc")) == []


def test_a_process_that_let_go_meanwhile_is_not_signalled(where: Where) -> None:
    """Looked at again right before the signal, with the process pinned."""
    assert not holders.tell_pid(os.getpid(), Where({"250:77"}, set()), signal.SIGKILL)
