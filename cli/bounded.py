"""Runs a program that may hang in the kernel, without ever hanging with it.

The program gets a session of its own and writes to a file, which is copied to the screen. So
neither a deadline nor Ctrl-C depends on it, and nothing it leaves behind holds our output open. On
Linux this process adopts whatever its descendants orphan: after the program has ended, every
process that is still below us was left behind by it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LINUX: Final = sys.platform == "linux"
PR_SET_CHILD_SUBREAPER: Final = 36
LOOK_SECONDS: Final = 0.2
ORDERLY_SECONDS: Final = 20.0
"""After Ctrl-C or a deadline, tests get so long to take their hosts down."""
ENDING_SECONDS: Final = 8.0
"""A process that ends by itself so soon after the program was not left behind."""
KILLED_SECONDS: Final = 5.0
"""A killed process that is still there after this is stuck in the kernel: it is left alone."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. `status` is None if the deadline came first."""

    status: int | None
    seconds: float
    left: tuple[str, ...] = ()
    """Processes it left behind, which were killed."""


def adopt_orphans() -> None:
    """Makes orphans among our descendants our children, so that none is lost sight of."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(
    argv: Sequence[str],
    log: Path,
    seconds: float,
    show: Callable[[str], object],
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Runs `argv` for at most `seconds`, its output in `log` and, as it comes, in `show`."""
    begin = time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(os.environ, **(env or {})),
        )
    with log.open(errors="replace") as written:
        try:
            status = _follow(child, begin + seconds, lambda: show(written.read()))
        except BaseException:
            _stop(child)
            raise
        if status is None:
            _stop(child)
        _await_ends()
        left = [_describe(pid) for pid in descendants() if not _is_ending(pid)]
        _kill_all()
        left += [f"{_describe(pid)}, stuck in the kernel" for pid in descendants()]
        show(written.read())
    return Ended(status, time.monotonic() - begin, tuple(left))


def _follow(child: subprocess.Popen[bytes], until: float, show: Callable[[], object]) -> int | None:
    while child.poll() is None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        show()
        _reap_orphans(child.pid)
    return child.poll()


def _reap_orphans(but: int) -> None:
    """Reaps what was orphaned meanwhile: the init of a host's namespace waits until that is done."""
    if not LINUX:
        return
    for pid, parent, state in _processes():
        if state == "Z" and parent == os.getpid() and pid != but:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Asks as Ctrl-C would, waits a little, then kills it and everything below us."""
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(ORDERLY_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    _kill_all()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(KILLED_SECONDS)


def _kill_all() -> None:
    until = time.monotonic() + KILLED_SECONDS
    while (alive := descendants()) and time.monotonic() < until:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
        _reap()


def _await_ends() -> None:
    """Lets what is about to end do so: the kernel takes a host's namespaces apart in its own time."""
    until = time.monotonic() + ENDING_SECONDS
    while descendants() and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        _reap()


def _reap() -> None:
    """Takes the exit status of adopted orphans, so that they do not stay as zombies."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants() -> list[int]:
    """Every living process below this one. Empty where there is no /proc."""
    if not LINUX:
        return []
    parents = {pid: parent for pid, parent, state in _processes() if state != "Z"}
    below: set[int] = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sorted(below - {os.getpid()})


def _processes() -> list[tuple[int, int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                found.append((int(entry.name), int(parent), state))
    return found


def _is_ending(pid: int) -> bool:
    """Whether the kernel has begun to take it apart: it has given up its memory, and so its name."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def _describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = []
    return f"{pid}: {' '.join(words)[:100].strip() or 'unnamed'}"
