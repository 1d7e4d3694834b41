"""What holds for every test: marks by directory, hypothesis' profiles, and nothing left behind.

A folder `tests/lab_*` holds tests of the lab, most of which boot hosts: those need root, and are
skipped without it. Temporary files of a whole run lie under one folder, and its processes carry one
environment variable; so at its end a process, mount, loop device or namespace that is still there
can be told to be ours, whatever else runs on the machine.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import botocore.loaders
import hypothesis
import pytest

HERE: Final = Path(__file__).parent
RUN: Final = "BATON_TEST_RUN"
PREFIX: Final = "baton-run-"
STALE_SECONDS: Final = 26 * 3600.0
"""A run's folder this old was left by one that was killed: the longest runs for a day."""
NO_HOSTS: Final = "lab_cloud"
"""The embedded AWS: it needs Linux, and no root."""
GONE_SECONDS: Final = 10.0
"""Clean-up of a namespace's mounts and processes goes on for a moment after its last process ended."""

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


class ModelsReadOnce(botocore.loaders.JSONFileLoader):
    """Each session of the SDK parses EC2's model anew, 0.2 s; a run has hundreds of them."""

    load_file = staticmethod(functools.cache(botocore.loaders.JSONFileLoader().load_file))


botocore.loaders.Loader.FILE_LOADER_CLASS = ModelsReadOnce


def why_no_lab(folder: str) -> str:
    """Why this folder's part of the lab cannot run here; empty if it can."""
    if sys.platform != "linux":
        return "needs Linux: network namespaces and loop devices"
    if os.geteuid() != 0 and folder != NO_HOSTS:
        return "needs root: network namespaces and loop devices"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs a lab, and skips it where there can be none."""
    for item in items:
        for folder in item.path.relative_to(HERE).parts[:-1]:
            if folder.startswith("lab_"):
                item.add_marker(pytest.mark.lab)
                if reason := why_no_lab(folder):
                    item.add_marker(pytest.mark.skip(reason=reason))


def pytest_configure(config: pytest.Config) -> None:
    """Gives the run its folder and its name; workers inherit both from the one that starts them."""
    if hasattr(config, "workerinput"):
        return
    remove_stale(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=PREFIX)
    os.environ[RUN] = os.environ["TMPDIR"] = tempfile.tempdir = folder


def remove_stale(where: Path) -> None:
    """Removes what runs that were killed long ago left, unless something of theirs still lives."""
    for folder in where.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE_SECONDS and not belongings(str(folder)):
                shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """After everything else has been torn down: whatever is left fails the run."""
    yield
    if hasattr(session.config, "workerinput"):
        return
    folder = os.environ[RUN]
    until = time.monotonic() + GONE_SECONDS
    while (left := leftovers(folder)) and time.monotonic() < until:
        time.sleep(0.2)
    if left:
        print("\n\nThe tests left behind:", *left, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        shutil.rmtree(folder, ignore_errors=True)


def leftovers(folder: str) -> list[str]:
    """Processes, mounts, loop devices and named namespaces of the run with this folder."""
    return [*belongings(folder), *_namespaces()]


def belongings(folder: str) -> list[str]:
    """Those that tell that they are of this run."""
    if sys.platform != "linux":
        return []
    return [*_processes(folder), *_mounts(folder), *_loops(folder)]


def _processes(folder: str) -> Iterator[str]:
    mark = f"{RUN}={folder}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has just ended
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if words != [""]:  # else a zombie
                    yield f"process {entry.name}: {' '.join(words)[:120]}"


def _namespaces() -> Iterator[str]:
    # A named namespace does not tell whose it is: only where nobody else is at work is it ours.
    if os.environ.get("CI") and Path("/run/netns").is_dir():
        yield from (f"network namespace: {entry.name}" for entry in Path("/run/netns").iterdir())


def _mounts(folder: str) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if folder in line:
            yield f"mount: {line.split()[4]}"


def _loops(folder: str) -> Iterator[str]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if backing.read_text().startswith(folder):
                yield f"loop device: {backing.parts[3]} of {backing.read_text().strip()}"
