"""The demo as a person runs it: green when all is well, red when it is not, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.demo.scenarios import ALL
from lab.hosts import kernel
from lab.hosts.hosts import BASE

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[2]
CLEAN_SECONDS = 60.0
"""Taking a lab down takes some seconds; a busy machine gets more."""
TRIES = 2
"""A broken build is red each time; on a busy machine it may be so late that only L1 shows it."""


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


@pytest.mark.timeout(395)
def test_every_scenario_is_played_and_every_guarantee_holds(tmp_path: Path) -> None:
    before, out = labs(), tmp_path / "out"
    status = finish(start("demo", out=out), 370)
    text = out.read_text(encoding="utf-8")
    assert status == 0, text
    for scenario in ALL:
        assert f"✓ {scenario.name} " in text, text
    await_gone(before)


@pytest.mark.timeout(395)
@pytest.mark.parametrize(("broken", "red"), [("S2", "✗ S2"), ("address", "✗ L1")])
def test_a_broken_build_turns_red(broken: str, red: str, tmp_path: Path) -> None:
    before, out = labs(), tmp_path / "out"
    text = ""
    for _ in range(TRIES):
        status = finish(start("demo", "--scenario", "planned", "--break", broken, out=out), 180)
        text = out.read_text(encoding="utf-8")
        assert status == 1, text
        await_gone(before)
        if red in text:
            return
    pytest.fail(f"red, but not for {broken}:\n{text}")


@pytest.mark.timeout(150)
@pytest.mark.parametrize("seconds", [1.0, 5.0, 15.0])
def test_an_interrupt_at_any_moment_leaves_nothing_behind(seconds: float, tmp_path: Path) -> None:
    before, out = labs(), tmp_path / "out"
    process = start("demo", "--scenario", "planned", out=out)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    status = finish(process, CLEAN_SECONDS)
    assert status in (130, -signal.SIGINT), out.read_text(encoding="utf-8")
    await_gone(before)


@pytest.mark.long
@pytest.mark.timeout(395)
def test_ten_random_faults_break_no_guarantee(tmp_path: Path) -> None:
    before, out = labs(), tmp_path / "out"
    status = finish(start("chaos", "--faults", "10", "--seed", "1", out=out), 370)
    text = out.read_text(encoding="utf-8")
    assert status == 0, text
    assert "10 faults of" in text, text
    await_gone(before)
