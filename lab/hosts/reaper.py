"""Removes everything of a lab, whatever state a crash left it in.

What belongs to a lab is found from the kernel (see kernel.py), never from a list of our own. The
order matters: devices are released and their filesystems shut down first, or the processes that
wait for them could not be killed.

A lab's directory is locked while its process lives. `guard` runs as a process of its own and
sweeps as soon as the lab's process is gone; a later lab sweeps what even that left behind.

    reaper.py DIRECTORY      wait for the end of standard input, then sweep
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.hosts import bounded, disks, kernel  # noqa: E402

DIE_SECONDS = 5.0
LOCK = "lock"


def lock(directory: Path) -> int | None:
    """Own a lab's directory: a handle, which is the lock; None if another has it, or removed it."""
    path = directory / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == path.stat().st_ino:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def sweep(directory: Path) -> list[str]:
    """Remove processes, devices and files of a lab. Returns what could not be removed, in words."""
    trouble: list[str] = []
    loops = kernel.loops(directory)
    for loop in loops:
        trouble += _bounded(f"{loop.path} of {loop.image}", lambda loop=loop: disks.yank(loop))
    trouble += _end_processes(directory)
    trouble += _detach(directory)
    if not trouble:
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            trouble.append(f"files remain in {directory}")
    return trouble


def _bounded(what: str, act: object) -> list[str]:
    assert callable(act)
    try:
        act()
    except (bounded.Stuck, bounded.Failed, OSError) as error:
        return [f"{what} could not be yanked: {error}"]
    return []


def _end_processes(directory: Path) -> list[str]:
    """Kill until nothing new appears: a process may have been starting another one."""
    until = time.monotonic() + DIE_SECONDS
    while True:
        left = [pid for pid in kernel.marked(directory) if kernel.alive(pid) and not _ours(pid)]
        if not left:
            return []
        for pid in left:
            bounded.kill(pid, _signal(pid, until))
        if time.monotonic() > until:
            return [f"process {kernel.process(pid)} hangs in the kernel" for pid in left]
        time.sleep(0.01)


def _signal(pid: int, until: float) -> int:
    """nsenter ends by itself when its child was killed, and reaps it, without which the host's init
    could not end. It may have been stopped, and gets a part of the time for it."""
    found = kernel.process(pid)
    first = time.monotonic() < until - DIE_SECONDS * 3 / 4
    return signal.SIGCONT if first and found and found.name == "nsenter" else signal.SIGKILL


def _ours(pid: int) -> bool:
    return pid in (os.getpid(), os.getppid())


def _detach(directory: Path) -> list[str]:
    until = time.monotonic() + DIE_SECONDS
    while left := kernel.loops(directory):
        for loop in left:
            try:
                bounded.run(["losetup", "-d", loop.path], check=False, seconds=2)
            except bounded.Stuck:
                break
        if time.monotonic() > until:
            return [f"{loop.path} of {loop.image} is still in use" for loop in left]
        time.sleep(0.02)
    return []


def sweep_left(base: Path) -> list[str]:
    """Sweep each lab in a directory whose process is gone. Returns trouble, in words."""
    trouble: list[str] = []
    for directory in sorted(base.glob("*/")):
        handle = lock(directory)
        if handle is not None:
            trouble += sweep(directory)
            os.close(handle)
    return trouble


def guard(directory: Path) -> int:
    """Wait for the end of the lab's process, then sweep what it left."""
    while os.read(0, 1):
        pass
    until = time.monotonic() + 60.0
    while directory.exists() and time.monotonic() < until:
        handle = lock(directory)
        if handle is not None:
            return 1 if sweep(directory) else 0
        time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(guard(Path(sys.argv[1])))
