"""Which processes hold a filesystem, and making them let go.

A holder is a process with an open file, a working directory, a root directory or a mapping on the
very filesystem (by device number, not by path), in whatever mount namespace it lives. Nobody else
is ever signalled: not a process that merely has the same path, nor what respawns the holders.
Process 1, this process and its parents are named but never signalled.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from typing import Iterable, Iterator, NamedTuple, Optional

from node_hook import children
from node_hook.job import short

MOST_NAMED = 40
"""Holders named in an answer: SSM cuts the output at 24,000 characters."""

PATH_BYTES = 200
"""Of each one's path, in the answer."""

_LOOK_SECONDS = 5.0
"""A look at all of /proc. It is done in a child, for a stat on a hung network mount may hang."""


class Where(NamedTuple):
    """A filesystem: its devices (major:minor, as st_dev), and the numbers of its mounts."""

    devices: "set[str]"
    mounts: "set[int]"


class Holder(NamedTuple):
    """A process that holds the filesystem, and by what."""

    pid: int
    name: str
    how: str
    path: str
    protected: bool


def find(where: Where, until: float, proc: str = "/proc") -> "list[Holder]":
    """The holders of these filesystems, this process excepted."""
    me = os.getpid()
    protected = {1, *parents(me, proc)}

    def look() -> int:
        for pid in pids(proc):
            if pid not in (me, os.getpid()):
                held = held_by(pid, where, proc)
                if held is not None:
                    holder = Holder(pid, _name(pid, proc), *held, pid in protected)
                    os.write(1, json.dumps(holder).encode() + b"\n")
        return 0

    ended = children.call(look, max(until, time.time() + _LOOK_SECONDS))
    lines = [line for line in ended.output.splitlines() if line.startswith("[")]
    return [Holder(*json.loads(line)) for line in lines]


def tell(found: Iterable[Holder], where: Where, number: int, proc: str = "/proc") -> "list[int]":
    """Signal the holders that are not protected and still hold; the numbers of those told."""
    return [
        holder.pid for holder in found if not holder.protected and tell_pid(holder.pid, where, number, proc)
    ]


def tell_pid(pid: int, where: Where, number: int, proc: str = "/proc") -> bool:
    """Signal one process if it holds one of them; whether it was signalled."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at with the handle open: the number may have gone to another process since.
        if held_by(pid, where, proc) is None:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def by_kernel(points: "set[str]", sys_block: str, proc: str) -> "list[str]":
    """What the kernel itself keeps open there: swap files, loop devices, overlays."""
    found = []
    inside = tuple(point + "/" for point in points)
    for line in _lines(f"{proc}/swaps")[1:]:
        if line.startswith(inside):
            found.append(f"swap file {line.split()[0]}: run swapoff")
    for name in os.listdir(sys_block):
        backing = "".join(_lines(f"{sys_block}/{name}/loop/backing_file"))
        if backing.startswith(inside):
            found.append(f"loop device {name} on {backing}: run losetup -d")
    for line in _lines(f"{proc}/self/mountinfo"):
        left, _, right = line.partition(" - ")
        if right.startswith("overlay ") and any(f"{x}{point}" in right for point in inside for x in "=:"):
            found.append(f"overlay on {left.split()[4]}")
    return found


def name_them(found: Iterable[Holder], signals: "dict[int, str]") -> "list[dict[str, object]]":
    """The holders for people, with the last signal each was sent."""
    named = []
    for holder in found:
        entry: "dict[str, object]" = {"pid": holder.pid, "name": holder.name, "how": holder.how}
        entry["path"] = short(holder.path, PATH_BYTES)
        if holder.pid in signals:
            entry["signal"] = signals[holder.pid]
        if holder.protected:
            entry["protected"] = True
        named.append(entry)
    return named[:MOST_NAMED]


def held_by(pid: int, where: Where, proc: str) -> "Optional[tuple[str, str]]":
    """By what a process, any of its threads, holds one of them."""
    home = f"{proc}/{pid}"
    try:
        tasks = os.listdir(f"{home}/task")
    except OSError:
        return None
    for task in tasks:
        for how, path in _links(f"{home}/task/{task}"):
            if _is_on(path, where):
                return how, _target(path)
    return _mapped(home, where)


def _links(home: str) -> "Iterator[tuple[str, str]]":
    """What a thread holds, as links in /proc; most threads share all of it with the first."""
    yield "cwd", f"{home}/cwd"
    yield "root", f"{home}/root"
    try:
        descriptors = os.listdir(f"{home}/fd")
    except OSError:
        return
    for descriptor in descriptors:
        yield "open", f"{home}/fd/{descriptor}"


def _is_on(path: str, where: Where) -> bool:
    try:
        if not os.readlink(path).startswith("/"):
            return False
        found = os.stat(path)
    except OSError as error:
        # XFS on a device that was pulled fails every stat: only its mount is known.
        return error.errno == errno.EIO and _mount_of(path) in where.mounts
    return f"{os.major(found.st_dev)}:{os.minor(found.st_dev)}" in where.devices


def _mount_of(path: str) -> int:
    """The number of the mount that a link in /proc leads to, 0 if unknown; asks no filesystem."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        lines = _lines(f"/proc/self/fdinfo/{descriptor}")
        return next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), 0)
    finally:
        os.close(descriptor)


def _mapped(home: str, where: Where) -> "Optional[tuple[str, str]]":
    for line in _lines(f"{home}/maps"):
        fields = line.split(None, 5)
        if len(fields) == 6:
            major, _, minor = fields[3].partition(":")
            if f"{int(major, 16)}:{int(minor, 16)}" in where.devices:
                return "mapped", fields[5]
    return None


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _lines(path: str) -> "list[str]":
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _name(pid: int, proc: str) -> str:
    return "".join(_lines(f"{proc}/{pid}/comm"))


def pids(proc: str) -> "list[int]":
    """Every process."""
    return [int(name) for name in os.listdir(proc) if name.isdigit()]


def parents(pid: int, proc: str) -> "Iterator[int]":
    """The processes that started us: the agent, a shell, an operator's session."""
    while pid > 1:
        status = "".join(_lines(f"{proc}/{pid}/stat"))
        fields = status.rpartition(")")[2].split()
        if len(fields) < 2:
            return
        pid = int(fields[1])
        yield pid
