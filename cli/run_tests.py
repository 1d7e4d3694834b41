"""`./baton test`: static checks, then the unit tests, then the tests that boot hosts.

Each stage runs under a watchdog (see `bounded`), and all of them together under
BATON_TEST_MINUTES. The last line has the form that pytest prints, summed over all stages.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from cli import bounded, second_try

ROOT: Final = Path(__file__).parent.parent
MINUTES: Final = 30.0
"""CI stops a run after 90 minutes with nothing to show; the whole suite is meant to take half an hour."""
LONG_MINUTES: Final = 24 * 60.0
CHECKED: Final = ("app.py", "chalicelib", "node_hook", "infra", "cli", "lab", "bench", "tools", "tests")
"""What mypy reads, strictly."""
WORKERS: Final = "2"
"""More would only wait for each other on the two cores that CI has."""
QUICK_WORKERS: Final = "4"
"""Many of the quick tests wait for something rather than compute."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One program of the run. `quiet`: its output is of interest only if it fails."""

    name: str
    argv: tuple[str, ...]
    quiet: bool = False


@dataclass(slots=True)
class Tally:
    """What a stage, or all of them, came to."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Adds a stage to the sum."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.seconds += other.seconds

    def counts(self) -> str:
        """The counts as pytest words them."""
        named = ((self.failed, "failed"), (self.passed, "passed"), (self.skipped, "skipped"))
        return ", ".join(f"{count} {word}" for count, word in named if count) or "no tests ran"


def python(*arguments: str) -> tuple[str, ...]:
    """A command of this environment's Python; `-m` works in a moved checkout, scripts do not."""
    return (sys.executable, *arguments)


def static_stages() -> Iterator[Stage]:
    """What is checked without running anything."""
    yield Stage("ruff", python("-m", "ruff", "check", ".", "baton"), quiet=True)
    yield Stage("formatting", python("-m", "ruff", "format", "--check", ".", "baton"), quiet=True)
    there = [name for name in CHECKED if (ROOT / name).exists()]
    yield Stage("mypy", python("-m", "mypy", *there), quiet=True)
    lint = "from importlinter.cli import lint_imports_command as c; c()"
    yield Stage("imports", python("-c", lint), quiet=True)


def test_stages(quick: bool, long: bool, paths: tuple[str, ...]) -> Iterator[Stage]:
    """The pytest runs. Hosts share the machine two files at a time; `alone` has it to itself."""
    colour = "yes" if sys.stdout.isatty() else "no"
    common = ("-m", "pytest", "-q", f"--color={colour}", "--durations=5", "--durations-min=2", "-rfE")
    spread = ("-n", QUICK_WORKERS if quick else WORKERS, "--dist=loadfile")
    without = "" if long else " and not long"
    if quick:
        without += " and not slow"
    yield Stage("unit tests", python(*common, *spread, "-m", f"not lab and not alone{without}", *paths))
    if not quick:
        yield Stage("lab tests", python(*common, *spread, "-m", f"lab and not alone{without}", *paths))
        yield Stage("lab tests, one at a time", python(*common, "-m", f"alone{without}", *paths))


def read_report(report: Path) -> Tally:
    """The counts in a JUnit report; one that is missing or torn counts for nothing."""
    try:
        suites = ET.parse(report).getroot().findall("testsuite")  # noqa: S314 - pytest wrote it
    except (OSError, ET.ParseError):
        return Tally()
    total = Tally()
    for suite in suites:
        counts = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        bad = counts["failures"] + counts["errors"]
        total.failed += bad
        total.skipped += counts["skipped"]
        total.passed += max(0, counts["tests"] - bad - counts["skipped"])
    return total


NOTHING_COLLECTED: Final = 5


def judge(stage: Stage, ended: bounded.Ended, report: Path) -> Tally:
    """What a stage's end means. A failure that pytest did not count is counted here."""
    tally = read_report(report)
    tally.seconds = ended.seconds
    if ended.status is None:
        tally.remarks.append("stopped by the watchdog: it did not end in time")
    elif ended.status not in (0, 1, NOTHING_COLLECTED):
        tally.remarks.append(f"ended with status {ended.status}")
    elif ended.status == 1 and not tally.failed:
        tally.remarks.append("failed")
    tally.remarks += [f"left a process behind, {process}" for process in ended.left]
    if tally.remarks:
        tally.failed += 1
    if stage.quiet and not tally.failed:
        tally.passed += 1
    return tally


def run_stage(stage: Stage, folder: Path, seconds: float) -> Tally:
    """Runs one stage and shows it: a line for a quiet one, all of its output for pytest."""
    report = folder / f"{stage.name.replace(' ', '-')}.xml"
    log = report.with_suffix(".log")
    argv = stage.argv if stage.quiet else (*stage.argv, f"--junitxml={report}")
    if not stage.quiet:
        click.secho(f"\n{stage.name}", bold=True)
    ended = bounded.run(argv, log, seconds, _nothing if stage.quiet else _copy)
    tally = judge(stage, ended, report)
    if tally.failed and stage.name.startswith("lab"):
        tally = try_again(stage, tally, report, seconds - tally.seconds)
    if stage.quiet:
        if tally.failed:
            _copy(log.read_text(errors="replace"))
        mark = click.style("✗", fg="red") if tally.failed else click.style("✓", fg="green")
        click.echo(f"{mark} {stage.name:<10}{tally.seconds:6.1f} s")
    return tally


def try_again(stage: Stage, first: Tally, report: Path, seconds: float) -> Tally:
    """Tests that boot hosts and failed are tried once more, alone; what passes then has passed."""
    again = second_try.failed(report, ROOT)
    if not again or first.remarks or seconds <= 0:
        return first
    click.secho(f"\n{stage.name}: {len(again)} tried once more", bold=True)
    second = report.with_name(f"again-{report.name}")
    argv = (*python("-m", "pytest", "-q", "-rfE"), f"--junitxml={second}", *again)
    ended = bounded.run(argv, second.with_suffix(".log"), seconds, _copy)
    tally = judge(stage, ended, second)
    tally.seconds += first.seconds
    if not tally.failed:
        tally.notes.append(f"{len(again)} passed at the second try: {', '.join(again)}")
    tally.passed = first.passed + min(tally.passed, first.failed)
    tally.skipped = first.skipped
    return tally


def _copy(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _nothing(_: str) -> None:
    return


def summary(tallies: dict[str, Tally], minutes: float) -> int:
    """Prints the durations and the closing line; gives the exit status."""
    total = Tally()
    click.echo()
    for name, tally in tallies.items():
        total.add(tally)
        click.echo(f"{name:<26}{tally.seconds:8.1f} s   {tally.counts()}")
        for note in tally.notes:
            click.secho(f"{'':<26}{'':>10}   {note}", fg="yellow")
        for remark in tally.remarks:
            click.secho(f"{'':<26}{'':>10}   {remark}", fg="red")
    if total.seconds > minutes * 60:
        click.secho(f"The whole run is given {minutes:g} minutes (BATON_TEST_MINUTES).", fg="red")
    bad = total.failed or not total.passed
    click.secho(f"{f' {total.counts()} in {total.seconds:.2f}s ':=^80}", fg="red" if bad else "green")
    return 1 if bad else 0


def run_all(stages: list[Stage], minutes: float) -> dict[str, Tally]:
    """Runs the stages in turn until the time given to all of them is over."""
    until = time.monotonic() + minutes * 60
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="baton-test-", ignore_cleanup_errors=True) as folder:
        for stage in stages:
            remaining = until - time.monotonic()
            if remaining <= 0:
                tallies[stage.name] = Tally(failed=1, remarks=["not run: the time was over"])
                continue
            tallies[stage.name] = run_stage(stage, Path(folder), remaining)
    return tallies


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option("--quick", is_flag=True, help="Leave out hosts and slow tests: a minute and a half, no root.")
@click.option("--long", "long_", is_flag=True, help="Include what takes hours.")
@click.argument("paths", nargs=-1)
def command(quick: bool, long_: bool, paths: tuple[str, ...]) -> None:
    """Run every test after the static checks, or the tests in PATHS alone.

    Tests that boot hosts need root on Linux and are skipped elsewhere. Nothing outlives the run: it
    ends after 30 minutes, or BATON_TEST_MINUTES, whatever hangs. Exit status 1 if anything failed.
    """
    minutes = float(os.environ.get("BATON_TEST_MINUTES", LONG_MINUTES if long_ else MINUTES))
    os.chdir(ROOT)
    # Without bytecode each of the workers would compile, and pytest rewrite, all of the tests again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell's background job ignores Ctrl-C, and so would all that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    bounded.adopt_orphans()
    stages = [] if paths else list(static_stages())
    stages += test_stages(quick, long_, paths)
    sys.exit(summary(run_all(stages, minutes), minutes))
