"""Nothing that a test run starts can hold it up, outlive it, or pass for a success."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]

PROGRAM: Final = """
import dataclasses, json, pathlib, sys
from cli import bounded, run_tests
bounded.ORDERLY_SECONDS = 1.0
bounded.adopt_orphans()
argv, seconds, folder = json.loads(sys.argv[1])
stage = run_tests.Stage("stage", tuple(argv), quiet=True)
log = pathlib.Path(folder, "log")
ended = bounded.run(argv, log, seconds, lambda text: None)
tally = run_tests.judge(stage, ended, pathlib.Path(folder, "none.xml"))
print(json.dumps([dataclasses.asdict(ended), dataclasses.asdict(tally), log.read_text()]))
"""


def run(tmp_path: Path, seconds: float, *argv: str) -> tuple[Any, Any, str]:
    """How a program ended under the watchdog, and what the test run makes of that."""
    told = json.dumps([argv, seconds, str(tmp_path)])
    program = [sys.executable, "-c", PROGRAM, told]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    ended, tally, log = json.loads(done.stdout)
    return ended, tally, log


def test_a_program_that_ends(tmp_path: Path) -> None:
    """Its status and its output are there, and nothing is held against it."""
    ended, tally, log = run(tmp_path, 30, "sh", "-c", "echo said; exit 0")
    assert (ended["status"], tally["passed"], tally["failed"], log) == (0, 1, 0, "said\n")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["sleep 300", "trap '' INT TERM; sleep 300 & wait; sleep 300"])
def test_a_program_that_hangs(tmp_path: Path, script: str) -> None:
    """The deadline ends it, whatever signals it ignores, and that is a failure."""
    ended, tally, _ = run(tmp_path, 0.5, "sh", "-c", script)
    assert ended["status"] is None
    assert ended["seconds"] < 15
    assert tally["failed"] == 1
    assert "stopped by the watchdog" in tally["remarks"][0]


@pytest.mark.slow
def test_a_program_that_leaves_one_behind(tmp_path: Path) -> None:
    """An orphan in a session of its own is seen, named and killed, and that is a failure."""
    ended, tally, _ = run(tmp_path, 30, "sh", "-c", "setsid sleep 297 </dev/null >/dev/null 2>&1 & sleep 0.2")
    assert ended["status"] == 0
    (left,) = ended["left"]
    assert left.endswith("sleep 297")
    assert tally["failed"] == 1
    assert not Path("/proc", left.partition(":")[0]).exists()


def test_a_status_that_pytest_does_not_count(tmp_path: Path) -> None:
    """A crash of the runner itself is a failure too."""
    _, tally, _ = run(tmp_path, 30, "sh", "-c", "exit 3")
    assert tally["failed"] == 1


def test_the_closing_line_sums_up_all_stages(capsys: pytest.CaptureFixture[str]) -> None:
    """In pytest's own form; any failure fails the whole."""
    from cli.run_tests import Tally, summary

    tallies = {"one": Tally(passed=3, seconds=1.0), "two": Tally(passed=2, failed=1, skipped=4, seconds=0.5)}
    assert summary(tallies, 30) == 1
    assert " 1 failed, 5 passed, 4 skipped in 1.50s " in capsys.readouterr().out.splitlines()[-1]
    assert summary({"one": Tally(passed=3)}, 30) == 0
    assert summary({"none": Tally(skipped=3)}, 30) == 1
