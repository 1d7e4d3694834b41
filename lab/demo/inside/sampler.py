#!/usr/bin/env python3
"""Looks at every process of a lab's hosts, many times a second, and writes down what changes.

    sampler.py HOSTS_DIRECTORY LOG PERIOD_SECONDS

A process of its own, so that it sees what happens while the lab is busy. It believes the kernel
alone: /proc/<pid>/mountinfo of each mount namespace, the size and backing file of each loop
device, /proc/<pid>/net/fib_trie for the addresses of each host; and the epoch file on each node's
disk. A line is one look that differs from the one before:

{"at": seconds, "until": seconds, "mounts": [[host, boot, volume, mount point, live], ...],
 "addresses": {host: [...]}, "epochs": {host: highest}}

`until` tells when the look ended. Without a change, a line comes each half second all the same.
"""

import json
import os
import re
import sys
import time
from typing import Any

IDLE_SECONDS = 0.5
LIVE_SECTORS = 2
"""An unplugged device is one sector long."""
HOSTS_EVERY = 5
"""Addresses and epoch files are read each so many looks: they cost more and change seldom."""


def host_of(pid: int) -> "tuple[str, str] | None":
    """A process's host and boot id; None for the machine's own, for a host that still boots, and for
    a process that dies while it is looked at.

    Read anew each time: the kernel gives the number of a namespace that is gone to the next one, so
    a host that reboots can come by another's.
    """
    boot = read(f"/proc/{pid}/root/run/boot_id").strip()
    if not boot or not os.path.isdir(f"/proc/{pid}/root/run/lab"):
        return None
    name = read(f"/proc/{pid}/root/etc/hostname").strip()
    return (name, boot) if name else None


def read(path: str) -> str:
    """A file's text, "" if it is gone."""
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def volumes(directory: str) -> "dict[str, tuple[str, bool]]":
    """Block device number to volume and whether the device gives data."""
    found = {}
    for name in os.listdir("/sys/block"):
        if not name.startswith("loop"):
            continue
        image = read(f"/sys/block/{name}/loop/backing_file").strip()
        if image.startswith(directory):
            live = int(read(f"/sys/block/{name}/size") or "0") >= LIVE_SECTORS
            volume = os.path.basename(image).partition(".")[0]
            found[read(f"/sys/block/{name}/dev").strip()] = (volume, live)
    return found


def processes(own: str) -> "dict[str, list[int]]":
    """The processes in each mount namespace but our own."""
    found: dict[str, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            namespace = os.readlink(f"/proc/{entry}/ns/mnt")
        except OSError:
            continue
        if namespace != own:
            found.setdefault(namespace, []).append(int(entry))
    return found


def mounts(pids: "list[int]", known: "dict[str, tuple[str, bool]]") -> "list[tuple[str, str, bool]]":
    """Volume, mount point and liveness of each of the lab's volumes in a mount namespace."""
    found = []
    # A dying process shows nothing, though others in its namespace still do.
    text = next(filter(None, (read(f"/proc/{pid}/mountinfo") for pid in pids)), "")
    for line in text.splitlines():
        fields = line.split(" ")
        volume = known.get(fields[2])
        if volume is not None:
            found.append((volume[0], fields[4], volume[1]))
    return found


def addresses(pids: "list[int]") -> "list[str]":
    """The addresses that a host's network namespace answers for: that of its init, which is number 1
    in its own namespace. It need not have the lowest number here, where numbers begin anew at their end.
    """
    is_init = (pid for pid in pids if re.search(r"^NSpid:.*\t1$", read(f"/proc/{pid}/status"), re.MULTILINE))
    text = read(f"/proc/{next(is_init, pids[0])}/net/fib_trie")
    local = re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", text)
    return sorted({address for address in local if not address.startswith(("127.", "169.254."))})


def epoch(directory: str, host: str) -> "int | None":
    """The highest epoch on a node's disk; None while the file is not there."""
    try:
        return int(json.loads(read(f"{directory}/{host}/disk/var/lib/baton/epoch.json"))["highest"])
    except (ValueError, KeyError, TypeError):
        return None


class Eye:
    """What was seen at the last look."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.lab = os.path.dirname(directory)
        self.own = os.readlink("/proc/self/ns/mnt")
        self.looks = 0
        self.slow: dict[str, Any] = {"addresses": {}, "epochs": {}}

    def look(self) -> "dict[str, Any]":
        """One look at everything."""
        known, seen, inside = volumes(self.lab), [], {}
        for pids in processes(self.own).values():
            host = next(filter(None, map(host_of, pids)), None)
            if host is None:
                continue
            inside[host[0]] = pids
            seen += [[*host, *mount] for mount in mounts(pids, known)]
        if self.looks % HOSTS_EVERY == 0:
            names = os.listdir(self.directory) if os.path.isdir(self.directory) else []
            epochs = {name: epoch(self.directory, name) for name in sorted(names)}
            self.slow = {
                "addresses": {name: addresses(pids) for name, pids in sorted(inside.items())},
                "epochs": {name: value for name, value in epochs.items() if value is not None},
            }
        self.looks += 1
        return {"mounts": sorted(seen), **self.slow}


def main(given: "list[str]") -> None:
    """Look until killed, or until the parent is gone."""
    eye, period, parent = Eye(given[0]), float(given[2]), os.getppid()
    log = os.open(given[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    before: dict[str, Any] = {}
    written = 0.0
    while os.getppid() == parent:
        at = time.monotonic()
        seen = eye.look()
        until = time.monotonic()
        if seen != before or until - written >= IDLE_SECONDS:
            os.write(log, json.dumps({"at": at, "until": until, **seen}).encode() + b"\n")
            before, written = seen, until
        time.sleep(max(0.002, period - (until - at)))


if __name__ == "__main__":
    main(sys.argv[1:])
