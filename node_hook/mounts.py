"""Who has what mounted, in every mount namespace of this machine, and taking it away there.

A mount that a container or a service copied into its own namespace keeps the filesystem alive when
ours is gone. Namespaces are found by the processes in them, and by the files they are bound to.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Iterable, NamedTuple, Optional

from node_hook import children

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
CLONE_NEWNS = 0x20000
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo. `device` is major:minor, equal to st_dev on ext4 and xfs."""

    id: int
    parent: int
    device: str
    point: str
    filesystem: str
    source: str
    options: str


class Namespace(NamedTuple):
    """A mount namespace: its identity, a file to enter it by, and a process that sees all of it, if any."""

    inode: str
    entrance: str
    pid: Optional[int]


def own(proc: str = "/proc") -> "list[Mount]":
    """The mounts of our own namespace, parents before children."""
    return read(f"{proc}/self/mountinfo")


def read(path: str) -> "list[Mount]":
    """The mounts in a mountinfo file; none if its process has ended."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return parse(file.read())
    except OSError:
        return []


def parse(text: str) -> "list[Mount]":
    """The mounts in the text of a mountinfo file."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) >= 6 and len(tail) >= 2:
            options = tail[2] if len(tail) > 2 else ""
            point, source = _plain(fields[4]), _plain(tail[1])
            found.append(Mount(int(fields[0]), int(fields[1]), fields[2], point, tail[0], source, options))
    return found


def _plain(text: str) -> str:
    """Mountinfo writes spaces, tabs, newlines and backslashes as octal numbers."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def at(point: str, mounts: "Iterable[Mount]") -> Optional[Mount]:
    """What is mounted there, the topmost if several are."""
    return next((m for m in reversed(list(mounts)) if m.point == point), None)


def namespaces(proc: str = "/proc") -> "list[Namespace]":
    """Every mount namespace but our own."""
    ours = _link(f"{proc}/self/ns/mnt")
    found: "dict[str, Namespace]" = {}
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        inode = _link(f"{proc}/{name}/ns/mnt")
        # A process in a chroot shows the mounts below it only, by other paths: it is a way in, no more.
        whole = _link(f"{proc}/{name}/root") == "/"
        if inode and inode != ours and (inode not in found or whole):
            found[inode] = Namespace(inode, f"{proc}/{name}/ns/mnt", int(name) if whole else None)
    for bound in own(proc):
        if bound.filesystem == "nsfs":
            inode = _bound_to(bound.point)
            if inode and inode != ours and inode not in found:
                found[inode] = Namespace(inode, bound.point, None)
    return list(found.values())


def inside(namespace: Namespace, until: float, proc: str = "/proc") -> "list[Mount]":
    """The mounts of another namespace; one that no process sees whole is entered by a child to look."""
    if namespace.pid is not None:
        return read(f"{proc}/{namespace.pid}/mountinfo")

    def look() -> int:
        enter(namespace.entrance)
        with open("/proc/self/mountinfo", "rb") as file:
            os.write(1, file.read())
        return 0

    return parse(children.call(look, until).output)


def everywhere(until: float, proc: str = "/proc") -> "list[tuple[Optional[Namespace], list[Mount]]]":
    """The mounts of each namespace, ours (None) first."""
    found: "list[tuple[Optional[Namespace], list[Mount]]]" = [(None, own(proc))]
    for namespace in namespaces(proc):
        found.append((namespace, inside(namespace, until, proc)))
    return found


def on_devices(mounts: "list[Mount]", devices: "set[str]") -> "list[Mount]":
    """The mounts of these devices and what is mounted below them, parents first."""
    below: "set[int]" = set()
    chosen = []
    for mount in _parents_first(mounts):
        if mount.device in devices or mount.parent in below:
            below.add(mount.id)
            chosen.append(mount)
    return chosen


def _parents_first(mounts: "list[Mount]") -> "list[Mount]":
    """Mountinfo follows the tree, except for what was moved: then a parent may come later."""
    known = {mount.id for mount in mounts}
    placed: "set[int]" = set()
    ordered: "list[Mount]" = []
    left = list(mounts)
    while left:
        ready = [m for m in left if m.parent not in known or m.parent in placed or m.parent == m.id]
        if not ready:
            return ordered + left
        placed.update(m.id for m in ready)
        ordered += ready
        left = [m for m in left if m.id not in placed]
    return ordered


def unmount(
    namespace: Optional[Namespace], targets: "list[tuple[Mount, int]]", until: float
) -> "dict[str, int]":
    """Unmount in this order, each with its flags; mount point to errno, 0 if it is gone.

    Past the deadline the rest is ETIMEDOUT: a child may hang in the kernel, we do not.
    """

    def work() -> int:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if namespace is not None:
            enter(namespace.entrance)
        for mount, flags in targets:
            point = os.fsencode(mount.point)
            failed = libc.umount2(point, flags | UMOUNT_NOFOLLOW) != 0
            os.write(1, b"%d\n" % (ctypes.get_errno() if failed else 0))
        return 0

    output = children.call(work, until).output
    codes = [int(line) for line in output.splitlines() if line.isdigit()]
    codes += [errno.ETIMEDOUT] * (len(targets) - len(codes))
    return {mount.point: code for (mount, _), code in zip(targets, codes)}  # noqa: B905 - 3.9


def enter(entrance: str) -> None:
    """Move this process, a child with a single thread, into a mount namespace."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(entrance, os.O_RDONLY)
    if libc.setns(descriptor, CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {entrance}")


def _bound_to(point: str) -> str:
    """The mount namespace that a file is bound to, "" if it is another kind of namespace."""
    import fcntl

    try:
        descriptor = os.open(point, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        kind = fcntl.ioctl(descriptor, 0xB703)  # NS_GET_NSTYPE
        return f"mnt:[{os.fstat(descriptor).st_ino}]" if kind == CLONE_NEWNS else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
