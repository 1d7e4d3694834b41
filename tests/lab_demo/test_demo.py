"""The demo as a person runs it: green when all is well, red when it is not, and gone afterwards."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from lab.demo.scenarios import ALL
from tests.lab_demo.running import CLEAN_SECONDS, await_gone, finish, labs, start

pytestmark = pytest.mark.alone

TRIES = 2
"""A broken build is red each time; on a busy machine it may be so late that only L1 shows it."""


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


@pytest.mark.timeout(395)
def test_ten_random_faults_break_no_guarantee(tmp_path: Path) -> None:
    before, out = labs(), tmp_path / "out"
    status = finish(start("chaos", "--faults", "10", "--seed", "1", out=out), 370)
    text = out.read_text(encoding="utf-8")
    assert status == 0, text
    assert "10 faults of" in text, text
    await_gone(before)
