"""`./baton` itself: what it prepares for which command, and what it says where it cannot."""

from __future__ import annotations

import os
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def launcher() -> Any:
    """The launcher as a module: it has no suffix, so Python has to be told what it is."""
    loader = SourceFileLoader("baton_launcher", str(ROOT / "baton"))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def said(capsys: pytest.CaptureFixture[str], launcher: Any, command: str) -> str:
    """The one line with which it refuses to prepare a lab."""
    with pytest.raises(SystemExit) as ended:
        launcher.prepare_lab(command)
    assert ended.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_lab_without_root(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it needs, how to give it, and what runs without."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    line = said(capsys, launcher, "demo")
    assert "needs root" in line and "sudo ./baton demo" in line and "./baton test --quick" in line


def test_a_lab_elsewhere_than_on_linux(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it needs, and what runs there."""
    monkeypatch.setattr(sys, "platform", "darwin")
    line = said(capsys, launcher, "demo")
    assert "needs Linux" in line and "./baton test" in line


@pytest.mark.parametrize(
    ("arguments", "euid", "wanted"),
    [
        ([], 0, False),
        (["demo"], 1000, True),
        (["demo", "--help"], 0, False),
        (["chaos", "--faults", "3"], 0, True),
        (["test"], 0, True),
        (["test"], 1000, False),
        (["test", "--quick"], 0, False),
        (["status"], 0, False),
    ],
)
def test_who_needs_a_lab(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], euid: int, wanted: bool
) -> None:
    """Tests without root skip what needs hosts; operating a cluster never installs anything for a lab."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    assert launcher.lab_wanted(arguments) is wanted


def test_an_environment_that_is_ready_is_left_alone(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The marker names the requirements; as long as they are the same nothing is run."""
    monkeypatch.setattr(launcher, "ROOT", str(tmp_path))
    monkeypatch.setattr(launcher, "run_logged", lambda *_: pytest.fail("pip was run"))
    (tmp_path / "r.txt").write_text("a==1 --hash=sha256:0\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / ".venv" / ".baton").write_text(launcher.fingerprint("r.txt"))
    assert launcher.make_environment(".venv", "r.txt") == str(python)
    before = launcher.fingerprint("r.txt")
    (tmp_path / "r.txt").write_text("a==2 --hash=sha256:0\n")
    assert launcher.fingerprint("r.txt") != before


def test_programs_that_are_missing_name_their_packages(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine with nothing, every package; each once."""
    monkeypatch.setattr(launcher, "SYSTEM_PATH", str(tmp_path))
    assert launcher.missing_packages(launcher.DEBIAN) == sorted(set(launcher.DEBIAN.values()))
    (tmp_path / "keepalived").write_text("#!/bin/sh\n")
    (tmp_path / "keepalived").chmod(0o755)
    assert "keepalived" not in launcher.missing_packages(launcher.DEBIAN)


def test_tests_go_on_without_what_only_some_need(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo asks for nothing that only tests run; a test's program that cannot be had is named."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    wanted: list[str] = []

    def in_vain(packages: list[str]) -> bool:
        wanted.extend(packages)
        return False

    monkeypatch.setattr(launcher, "missing_packages", lambda of: ["npm"] if "npm" in of else [])
    monkeypatch.setattr(launcher, "install_packages", in_vain)
    launcher.prepare_lab("demo")
    assert wanted == []
    launcher.prepare_lab("test")
    assert "going on without npm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], False),
        (["demo"], True),
        (["test"], True),
        (["test", "--quick"], False),
        (["test", "--help"], False),
        (["status"], False),
    ],
)
def test_who_runs_deployed_functions(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], wanted: bool
) -> None:
    """The embedded AWS is tested without root as well."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert launcher.lambda_wanted(arguments) is wanted


def test_a_command_that_hangs_is_stopped(
    launcher: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even a package manager may wait without a bound."""
    with pytest.raises(SystemExit):
        launcher.run_logged(["sleep", "300"], str(tmp_path / "log"), 0.3, lambda: "")
    assert "took longer than" in capsys.readouterr().err
