"""Work in child processes with a deadline: a call that hangs in the kernel must not hang the script.

A process in uninterruptible sleep (an unmount that waits for a dead device, a stat on a hung file
system) does not even die of SIGKILL. So whatever may hang is done in a child; past its deadline
the child is killed, and if it does not die it is left behind, and the caller is told.

Written on fork and poll rather than `subprocess`, whose import alone costs a third of a start-up.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Callable, NamedTuple, Optional

LAST_SECONDS = 0.5
"""How long a killed child may take to die before it is left behind."""

OUTPUT_BYTES = 4 * 1024 * 1024
"""What is kept of the output: its end, where the reason for a failure is. A mount table fits."""


class Ended(NamedTuple):
    """How a child ended. `code` is None if it did not end by itself; negative: by that signal."""

    code: Optional[int]
    output: str = ""

    @property
    def last_line(self) -> str:
        """The last line that says anything, for a message."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def run(
    argv: "list[str]",
    until: float,
    *,
    stop: Optional[Callable[[], bool]] = None,
    signals: "tuple[int, ...]" = (signal.SIGKILL,),
    bound: bool = False,
) -> Ended:
    """Run a program until it ends, `until` passes (time.time), or `stop` says so.

    Past that it gets `signals` in turn. Output and errors are kept together; input is empty.
    `bound`: the program dies with this process, for what must not happen once a newer command was
    executed (an agent that is restarted kills us, and runs the next command at once).
    """
    parent = os.getpid()

    def execute() -> int:
        if bound:
            _die_with(parent)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.setpgid(0, 0)
        os.execvp(argv[0], argv)

    return call(execute, until, stop=stop, signals=signals)


def call(
    function: Callable[[], int],
    until: float,
    *,
    stop: Optional[Callable[[], bool]] = None,
    signals: "tuple[int, ...]" = (signal.SIGKILL,),
) -> Ended:
    """Call a function in a child; `code` is what it returns, its errno if it raises OSError."""
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            _child(function, output)
        code = _wait(pid, until, stop, signals)
        return Ended(code, _tail(output))
    finally:
        os.close(output)


def _child(function: Callable[[], int], output: int) -> None:
    """Never returns: the parent's clean-up must not run twice."""
    code = 70
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = function()
    except FileNotFoundError as error:
        code = 127
        os.write(2, f"{error.filename or error}: not found\n".encode())
    except OSError as error:
        code = error.errno or 70
        os.write(2, f"{error}\n".encode())
    except BaseException as error:  # noqa: BLE001 - the child ends here, whatever it was
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(code & 0xFF)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; it may have ended already."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, which outlives the exec
    if os.getppid() != parent:
        os._exit(70)


def _wait(
    pid: int, until: float, stop: Optional[Callable[[], bool]], signals: "tuple[int, ...]"
) -> Optional[int]:
    handle = os.pidfd_open(pid)
    try:
        if _ended(handle, until, stop):
            return _reap(pid)
        for number in signals:
            _kill(pid, number)
            if _ended(handle, time.time() + LAST_SECONDS, None):
                _reap(pid)
                return None
        return None
    finally:
        os.close(handle)


def _ended(handle: int, until: float, stop: Optional[Callable[[], bool]]) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    while True:
        left = until - time.time()
        if poll.poll(max(0.0, min(left, 0.05) if stop else left) * 1000):
            return True
        if time.time() >= until or (stop is not None and stop()):
            return False


def _reap(pid: int) -> int:
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def _kill(pid: int, number: int) -> None:
    """A program has a process group of its own, and its children go with it."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)


def _tail(output: int) -> str:
    size = os.lseek(output, 0, os.SEEK_END)
    data = os.pread(output, OUTPUT_BYTES, max(0, size - OUTPUT_BYTES))
    return data.decode("utf-8", "replace")
