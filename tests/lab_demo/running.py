"""Commands of `./baton` that boot hosts, as processes: begun, ended, and nothing left of their labs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.hosts import kernel
from lab.hosts.hosts import BASE

ROOT = Path(__file__).resolve().parents[2]
CLEAN_SECONDS = 60.0
"""Taking a lab down takes some seconds; a busy machine gets more."""


def start(*words: str, out: Path) -> subprocess.Popen[bytes]:
    """Begin a command of `./baton` in a session of its own, its output in a file."""
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    with out.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Its exit status; past the time it is asked to end, as by Ctrl-C, and the test fails."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(CLEAN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        pytest.fail(f"it did not end within {seconds:g} s")


def labs() -> set[Path]:
    """Directories of labs that exist, and those that a process or a loop device still belongs to."""
    found = set(BASE.glob("*")) if BASE.is_dir() else set()
    found |= {BASE / Path(loop.image).relative_to(BASE).parts[0] for loop in kernel.loops(BASE)}
    for pid in kernel.pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        marks = [entry for entry in environment if entry.startswith(kernel.MARK.encode() + b"=")]
        found |= {Path(os.fsdecode(mark.partition(b"=")[2])) for mark in marks}
    return found


def await_gone(before: set[Path]) -> None:
    """Nothing of a lab that was not there before is left, after a moment."""
    until = time.monotonic() + CLEAN_SECONDS
    while (left := labs() - before) and time.monotonic() < until:
        time.sleep(0.2)
    assert not left
