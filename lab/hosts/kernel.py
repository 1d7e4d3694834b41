"""What the kernel says of the lab, read from /proc and /sys: the only memory that survives a crash.

Nothing is believed from a register of our own. A process of a lab carries the lab's directory in
its environment, and a loop device names the image behind it, so that whatever a killed run left can
be found by anybody, at any moment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "BATON_LAB"
"""Environment variable of each of a lab's processes: the lab's directory."""

LIVE_SECTORS = 2
"""A yanked device is one sector long."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, by its number in the root PID namespace."""

    pid: int
    name: str
    state: str
    command: str


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of a process's mountinfo."""

    pid: int
    namespace: str
    device: str
    point: str
    filesystem: str
    source: str
    options: str


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop device: its name (`loop3`), its number (`7:3`), the image behind it."""

    name: str
    number: str
    image: str

    @property
    def path(self) -> str:
        """Its node in the root namespace."""
        return f"/dev/{self.name}"

    @property
    def live(self) -> bool:
        """Whether it still gives data: False once yanked or gone."""
        return int(_read(Path(f"/sys/block/{self.name}/size")) or "0") >= LIVE_SECTORS

    @property
    def has_filesystem(self) -> bool:
        """Whether a filesystem lives on it, mounted anywhere or unmounted lazily."""
        return any(Path(f"/sys/fs/{kind}/{self.name}").is_dir() for kind in ("ext4", "xfs"))


def pids() -> list[int]:
    """All processes there are, as numbers of the root PID namespace."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def marked(directory: Path) -> list[int]:
    """Processes of the lab in this directory, whoever started them and whenever."""
    mark = f"{MARK}={directory}".encode()
    return [pid for pid in pids() if mark in _bytes(f"/proc/{pid}/environ").split(b"\0")]


def namespace(pid: int, kind: str) -> str:
    """A process's namespace, as `mnt:[4026531840]`; "" if the process is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return ""


def within(pid_namespace: str) -> list[int]:
    """Processes in a PID namespace."""
    return [pid for pid in pids() if namespace(pid, "pid") == pid_namespace]


def process(pid: int) -> Process | None:
    """What a process is, None if it is gone."""
    match = re.match(r"\d+ \((.*)\) (\S)", _read(Path(f"/proc/{pid}/stat")), re.S)
    if match is None:
        return None
    command = _bytes(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    return Process(pid, match[1], match[2], command)


def parent(pid: int) -> int:
    """A process's parent; 0 if the process is gone."""
    match = re.search(r"^PPid:\s*(\d+)$", _read(Path(f"/proc/{pid}/status")), re.M)
    return int(match[1]) if match else 0


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    found = process(pid)
    return found is not None and found.state not in "ZX"


def mounts(number: str) -> list[Mount]:
    """Each mount of a block device (`7:3`) in any mount namespace of any process, once each."""
    found: dict[tuple[str, str], Mount] = {}
    for mount in _all_mounts():
        if mount.device == number:
            found.setdefault((mount.namespace, mount.point), mount)
    return list(found.values())


def _all_mounts() -> Iterator[Mount]:
    seen: set[str] = set()
    for pid in pids():
        where = namespace(pid, "mnt")
        if not where or where in seen:
            continue
        text = _read(Path(f"/proc/{pid}/mountinfo"))
        # A dying process shows nothing, though others in its namespace still do.
        if text:
            seen.add(where)
        for line in text.splitlines():
            left, _, right = line.partition(" - ")
            fields, tail = left.split(" "), right.split(" ")
            yield Mount(pid, where, fields[2], _plain(fields[4]), tail[0], _plain(tail[1]), fields[5])


def loops(under: Path) -> list[Loop]:
    """Loop devices whose image lies in a directory, deleted images too."""
    found = []
    for device in Path("/sys/block").glob("loop*"):
        image = _read(device / "loop" / "backing_file").strip().removesuffix(" (deleted)")
        if image.startswith(f"{under}/"):
            found.append(Loop(device.name, _read(device / "dev").strip(), image))
    return found


def _plain(escaped: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), escaped)


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _read(path: Path) -> str:
    return _bytes(str(path)).decode(errors="replace")
