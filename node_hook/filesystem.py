"""What is on a device, whether it is sound, and mounting it where it belongs."""

from __future__ import annotations

import os
import signal
import time
from typing import Callable, Optional

from node_hook import children, devices, mounts
from node_hook.config import Volume
from node_hook.devices import Device
from node_hook.job import Failed, Job

PROBE_SECONDS = 5.0
"""blkid reads a few blocks."""

_BLANK = 2
"""blkid's exit code for a device without any signature."""

_CORRECTED = 3
"""fsck's exit code is a sum: 1 corrected, 2 corrected and wants a reboot (of a root filesystem);
4 and above: errors are left, or it could not check."""


def probe(device: Device) -> "dict[str, str]":
    """What blkid reads from the device itself, past every cache; empty if it is blank.

    Raises Failed if it cannot be read, or has several signatures at once.
    """
    argv = ["blkid", "-p", "-o", "export", device.path]
    ended = children.run(argv, time.time() + PROBE_SECONDS)
    if ended.code == _BLANK:
        return {}
    if ended.code != 0:
        reason = ended.last_line or "blkid does not answer"
        raise Failed("mount", f"cannot tell what is on {device.path}: {reason}")
    lines = [line.partition("=") for line in ended.output.splitlines()]
    return {key: value for key, _, value in lines}


def identify(volume: Volume, device: Device) -> None:
    """Raise Failed unless the device carries the expected filesystem."""
    found = probe(device)
    if not found:
        text = f"{volume.id} is blank: format it with `node.py prepare --volumes {volume.id}`"
        raise Failed("mount", text)
    kind = found.get("TYPE", found.get("PTTYPE", "something unknown"))
    if kind != volume.filesystem:
        hint = " (name its partition?)" if "PTTYPE" in found and "TYPE" not in found else ""
        raise Failed("mount", f"{volume.id} carries {kind}{hint}, not {volume.filesystem}")
    if volume.uuid and found.get("UUID", "").lower() != volume.uuid.lower():
        text = f"the filesystem on {volume.id} is {found.get('UUID')}, not {volume.uuid}"
        raise Failed("unverified", f"{text}: another filesystem than the configuration means")


def check(volume: Volume, device: Device, until: float, stop: Callable[[], bool]) -> Optional[str]:
    """Check ext4 and mend what can be mended safely; a note if something was. Raises Failed.

    XFS replays its journal when it is mounted, and refuses to mount if it is damaged.
    """
    if volume.filesystem != "ext4":
        return None
    argv = ["fsck.ext4", "-p", device.path]
    # SIGTERM first: it stops between two blocks, and nothing is worse than it was.
    ended = children.run(argv, until, stop=stop, signals=(signal.SIGTERM, signal.SIGKILL), bound=True)
    if ended.code is None or ended.code < 0:
        raise Failed("mount", f"the check of {volume.id} did not end by the deadline")
    if ended.code == 127:
        raise Failed("configuration", "fsck.ext4 is not installed: install e2fsprogs")
    if ended.code & ~_CORRECTED:
        raise Failed("damaged", _damage(volume, f"fsck says {ended.code}: {ended.last_line}"))
    return f"fsck mended {volume.id}" if ended.code else None


def mount(volume: Volume, device: Device, until: float) -> None:
    """Mount it at its place, which is made if it is missing. Raises Failed."""
    if os.path.islink(volume.mount):
        raise Failed("configuration", f"{volume.mount} is a symbolic link: name the directory itself")
    os.makedirs(volume.mount, mode=0o755, exist_ok=True)
    argv = ["mount", "-t", volume.filesystem]
    if volume.options:
        argv += ["-o", ",".join(volume.options)]
    ended = children.run([*argv, "--", device.path, volume.mount], until, bound=True)
    if ended.code is None:
        raise Failed("mount", f"mounting {volume.id} did not end by the deadline")
    if ended.code != 0:
        if "clean" in ended.output and volume.filesystem == "xfs":  # EUCLEAN, in words
            raise Failed("damaged", _damage(volume, ended.last_line))
        raise Failed("mount", f"{volume.id} cannot be mounted: {ended.output.strip()[-300:]}")


def mounted_as(job: Job, volume: Volume, device: Device) -> bool:
    """Whether it is mounted at its place already. Raises Failed if anything else is there."""
    there = mounts.at(volume.mount, mounts.own(job.paths.proc))
    if there is not None and there.device == device.number:
        return True
    if there is not None:
        raise Failed("mount", f"{there.source} ({there.device}) is mounted at {volume.mount}")
    if devices.in_use(device, time.time() + PROBE_SECONDS):
        raise Failed("mount", f"{device.path} is in use: {_where(job, device)}")
    return False


def _where(job: Job, device: Device) -> str:
    for namespace, table in mounts.everywhere(time.time() + PROBE_SECONDS, job.paths.proc):
        for found in table:
            if found.device == device.number:
                who = "" if namespace is None else f" in {namespace.inode}"
                pid = f", by process {namespace.pid}" if namespace is not None and namespace.pid else ""
                return f"mounted at {found.point}{who}{pid}"
    return "by something that no mount table shows"


def _damage(volume: Volume, what: str) -> str:
    return f"{volume.id} is damaged ({what}); mend it by hand, or restore a snapshot"
