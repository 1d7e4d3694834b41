"""Run a command that may hang in the kernel, without ever hanging with it.

A mount, umount, losetup or ioctl can sleep uninterruptibly (state D): such a process outlives
SIGKILL. So output goes to an unnamed file, never to a pipe that the stuck process would hold open,
and nothing waits for a killed child longer than a moment: it is left behind, and said so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MOMENT_SECONDS = 1.0
"""How long a killed child may take to die. One in state D takes for ever: not waited for."""

REAP_SECONDS = 0.3
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where losetup, ip and mkfs are, whatever the caller's PATH is."""


class Stuck(Exception):
    """A command did not end by its deadline; it was killed, or hangs in the kernel."""


class Failed(Exception):
    """A command ended with an error; the text has the command and what it said."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended: exit status (negative: signal), and what it wrote."""

    code: int
    out: str
    err: str


def children(pid: int) -> list[int]:
    """Children of a process's main thread; empty if it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in text.split()]


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_tree(pid: int) -> None:
    """Kill a process and its children, children first."""
    for child in children(pid):
        kill_tree(child)
    kill(pid)


def end(process: subprocess.Popen[bytes]) -> bool:
    """Kill a child of ours and its children; True if it is gone within a moment.

    nsenter passes no SIGKILL on, and must outlive its child to reap it: a host's init ends only
    after that, and nobody else may do it (not every machine's init does).
    """
    for child in children(process.pid):
        kill_tree(child)
    kill(process.pid, signal.SIGCONT)
    if isinstance(process.args, list) and process.args[0] == "nsenter" and _gone(process, REAP_SECONDS):
        return True
    kill(process.pid)
    return _gone(process, MOMENT_SECONDS)


def _gone(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def start(
    argv: Sequence[str],
    *,
    out: IO[bytes] | int = subprocess.DEVNULL,
    err: IO[bytes] | int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: IO[bytes] | int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own: it shares no terminal, no Ctrl-C, no output with us."""
    if env is None:
        env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"}
    return subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=out,
        stderr=err,
        env=env,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def run(
    argv: Sequence[str],
    *,
    seconds: float = 20.0,
    env: Mapping[str, str] | None = None,
    text: str = "",
    check: bool = True,
    started: Callable[[subprocess.Popen[bytes]], None] = lambda process: None,
) -> Completed:
    """Run a command to its end, at most so long. Raises Stuck past it, Failed if checked.

    `text` is its standard input; `started` is told the process once it runs.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as source:
        source.write(text.encode())
        source.seek(0)
        process = start(argv, out=out, err=err, env=env, stdin=source)
        started(process)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            gone = "and was killed" if end(process) else "and hangs in the kernel, unkillable"
            said = f"{_text(out)}{_text(err)}".strip()
            raise Stuck(f"{' '.join(argv)} did not end in {seconds} s {gone}. {said}") from None
        except BaseException:
            end(process)
            raise
        done = Completed(code, _text(out), _text(err))
    if check and code != 0:
        raise Failed(f"{' '.join(argv)} failed ({code}): {done.err.strip() or done.out.strip()}")
    return done


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
