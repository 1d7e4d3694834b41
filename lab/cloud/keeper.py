"""Kills the Lambda processes of a cloud whose own process died without stopping it.

They are stopped (SIGSTOP) most of the time and so would stay for ever. The keeper is a process
of its own at the other end of a pipe: when the pipe closes, however that came about, it kills
what is still listed. (A death signal from the kernel would not do: it follows the thread that
made the child, and those here are short-lived.)
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    group = int(line[1:])
    (groups.add if line[0] == "+" else groups.discard)(group)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
_END_SECONDS = 5.0


class Keeper:
    """Started with the first process to keep."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def keep(self, group: int) -> None:
        """Kill this process group if our process ends."""
        self._say(f"+{group}\n")

    def let_go(self, group: int) -> None:
        """It has ended."""
        self._say(f"-{group}\n")

    def close(self) -> None:
        """Nothing is left to keep."""
        with self._lock:
            if self._process is None:
                return
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._process.communicate(timeout=_END_SECONDS)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(_END_SECONDS)
            self._process = None

    def _say(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._process is None:
                self._process = _start()
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
