"""keepalived as seen from outside: what its FIFO lines mean, whether it lives, what it says if asked.

Asked means: the signal that `keepalived --signum=JSON` names makes it write its state to a file
within some milliseconds. That is the one answer that cannot be stale.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import stat
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from node_hook.paths import Paths

MASTER_RX_LOWER_PRI = "MASTER_RX_LOWER_PRI"
"""This master hears a master of lower priority. After a partition it is all that the winner says."""

STATES = {
    "MASTER": "MASTER",
    "BACKUP": "BACKUP",
    "FAULT": "FAULT",
    "STOP": "STOP",
    "DELETED": "STOP",
    MASTER_RX_LOWER_PRI: "MASTER",
}
"""What keepalived may write, and which of Baton's four states that is."""

SILENT = frozenset({"MASTER_PRIORITY", "BACKUP_PRIORITY"})
"""Lines that tell a changed priority, if keepalived is configured to: no change of state."""

ASK_SECONDS = 1.0
"""It writes its state within 10 ms. A keepalived that is frozen or gone does not answer."""

_LINE = re.compile(r'(INSTANCE|GROUP)\s+"([^"]*)"\s+([A-Z_]+)\s+(\d{1,3})')
_JSON_STATES = {1: "BACKUP", 2: "MASTER", 3: "FAULT"}


@dataclass(frozen=True)
class Line:
    """A line of the FIFO: a VRRP instance (or group), its state as keepalived calls it, priority."""

    kind: str
    name: str
    state: str
    priority: int


@dataclass(frozen=True)
class Process:
    """keepalived's main process; `started` tells it from a later one with the same pid."""

    pid: int
    started: str


_NUMBERS: Dict[Process, int] = {}
"""The signal number of the process last asked, so that asking again starts no program."""


@dataclass(frozen=True)
class Told:
    """What keepalived said of one instance when it was asked."""

    state: str
    priority: int
    since: float


def parse(line: str) -> Optional[Line]:
    """The line's meaning; None if it is not one of keepalived's."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    kind, name, state, priority = match.groups()
    if (state not in STATES and state not in SILENT) or int(priority) > 255:
        return None
    return Line(kind, name, state, int(priority))


def find(paths: Paths) -> Optional[Process]:
    """keepalived's main process, None if it does not run.

    It is the one that holds our FIFO open; failing that (a plain notify hook, or it is just
    starting) the one of the pid file, or one that shares our network.
    """
    candidates = _processes(paths)
    found = next((pid for pid in candidates if _holds(paths, pid, paths.fifo)), None)
    if found is None:
        found = next((pid for pid in candidates if pid == _pid_file(paths)), None)
    if found is None:
        found = next((pid for pid in candidates if _shares_network(paths, pid)), None)
    return None if found is None else _main(paths, found)


def is_alive(paths: Paths, process: Process) -> bool:
    """Whether that very process still runs; a zombie does not."""
    fields = _stat(paths, process.pid)
    return fields is not None and fields["started"] == process.started and fields["state"] != "Z"


def ask(paths: Paths, process: Process, instance: str) -> Optional[Told]:
    """What keepalived itself says now; None if it does not answer, or knows no such instance."""
    number = _signal_number(paths, process)
    if number is None:
        return None
    name = _answer_file(paths, process)
    lock = os.open(f"{paths.run}/ask.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # One asker at a time: two would read each other's half-written answers.
        _lock(lock)
        _unlink(name)
        os.kill(process.pid, number)
        return _told(_await(name), instance)
    except OSError:
        return None
    finally:
        os.close(lock)


def current(paths: Paths, instance: str) -> Optional[str]:
    """The instance's state by keepalived's own word, "STOP" if it does not run, None if unknown."""
    process = find(paths)
    if process is None:
        return "STOP"
    told = ask(paths, process, instance)
    return told.state if told else None


# --------------------------------------------------------------------------------- processes


def _processes(paths: Paths) -> List[int]:
    found = []
    for name in os.listdir(paths.proc):
        if name.isdigit():
            fields = _stat(paths, int(name))
            if fields and fields["comm"] == "keepalived" and fields["state"] != "Z":
                found.append(int(name))
    return found


def _stat(paths: Paths, pid: int) -> Optional[Dict[str, str]]:
    try:
        with open(f"{paths.proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    before, _, after = text.rpartition(")")
    fields = after.split()
    comm = before.partition("(")[2]
    return {"comm": comm, "state": fields[0], "parent": fields[1], "started": fields[19]}


def _main(paths: Paths, pid: int) -> Optional[Process]:
    """Up to the topmost keepalived: its children do VRRP, the parent takes the signals."""
    fields = _stat(paths, pid)
    while fields is not None:
        parent = _stat(paths, int(fields["parent"]))
        if parent is None or parent["comm"] != "keepalived":
            return Process(pid, fields["started"])
        pid, fields = int(fields["parent"]), parent
    return None


def _holds(paths: Paths, pid: int, path: str) -> bool:
    try:
        wanted = os.stat(path)
        descriptors = os.listdir(f"{paths.proc}/{pid}/fd")
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            found = os.stat(f"{paths.proc}/{pid}/fd/{descriptor}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def _shares_network(paths: Paths, pid: int) -> bool:
    try:
        return os.readlink(f"{paths.proc}/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def _pid_file(paths: Paths) -> Optional[int]:
    try:
        with open(paths.keepalived_pid, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


# ------------------------------------------------------------------------------------ asking


def _signal_number(paths: Paths, process: Process) -> Optional[int]:
    """The signal that asks for JSON, if this very process handles it; it would die of it otherwise.

    keepalived reads its signals from a signalfd, so a signal that it handles is a blocked one.
    """
    try:
        number = _NUMBERS.get(process) or _asked_number(f"{paths.proc}/{process.pid}/exe")
        _NUMBERS.clear()
        _NUMBERS[process] = number
        with open(f"{paths.proc}/{process.pid}/status", encoding="ascii", errors="replace") as file:
            masks = dict(line.split(":", 1) for line in file if line.startswith("Sig"))
        handled = int(masks["SigBlk"], 16) | int(masks["SigCgt"], 16)
    except (OSError, ValueError, KeyError):
        return None
    usable = signal.SIGRTMIN <= number <= signal.SIGRTMAX and handled >> (number - 1) & 1
    return number if usable else None


def _answer_file(paths: Paths, process: Process) -> str:
    """Where it will answer: in its own root, in $TMPDIR if it was started with one."""
    root = f"{paths.proc}/{process.pid}/root"
    try:
        with open(f"{paths.proc}/{process.pid}/environ", "rb") as file:
            found = re.search(rb"(?:^|\0)TMPDIR=(/[^\0]*)", file.read())
    except OSError:
        found = None
    if found is None:
        return root + paths.keepalived_json
    leaf = os.path.basename(paths.keepalived_json)
    return root + os.path.join(os.fsdecode(found.group(1)), leaf)


def _asked_number(binary: str) -> int:
    """What the very program that runs says, even if a package has replaced its file since."""
    import subprocess

    try:
        asked = subprocess.run(
            [binary, "--signum=JSON"], capture_output=True, timeout=ASK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError("it does not say") from error
    return int(asked.stdout)


def _await(name: str) -> Any:
    """The document that appears under this name, once it is whole."""
    deadline = time.monotonic() + ASK_SECONDS
    while time.monotonic() < deadline:
        try:
            with open(name, "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode) and os.fstat(file.fileno()).st_uid == 0:
                    return json.load(file)
        except (FileNotFoundError, ValueError):
            pass
        time.sleep(0.001)
    return None


def _lock(descriptor: int) -> None:
    """Wait for the other asker, who takes ASK_SECONDS at most. Raises TimeoutError."""
    deadline = time.monotonic() + 2 * ASK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("somebody else keeps asking keepalived") from None
        time.sleep(0.002)


def _told(document: Any, instance: str) -> Optional[Told]:
    for entry in document if isinstance(document, list) else []:
        data = entry.get("data", {})
        if data.get("iname") == instance and data.get("state") in _JSON_STATES:
            return Told(
                _JSON_STATES[data["state"]],
                int(data.get("effective_priority") or 0),
                float(data.get("last_transition") or 0),
            )
    return None


def _unlink(name: str) -> None:
    try:
        os.unlink(name)
    except FileNotFoundError:
        pass
