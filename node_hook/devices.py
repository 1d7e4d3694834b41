"""Finding a volume's block device, and being sure of it.

EC2 names devices in any order, and udev's links have pointed at the wrong volume: only the serial
number that the kernel read from the device itself counts. A device whose serial cannot be verified
is refused.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import NamedTuple, Optional

from node_hook import children, files
from node_hook.config import Volume
from node_hook.paths import Paths

SMALLEST_SECTORS = 2048
"""1 MiB. The smallest EBS volume has 1 GiB; when a device is pulled, the kernel shrinks it to
nothing or removes it, while what was mounted from it stays mounted."""

LOOK_SECONDS = 0.05
"""Between two looks for a device that EC2 is attaching."""


class Device(NamedTuple):
    """A verified block device: its file and its number, as st_dev shows it."""

    path: str
    number: str


class Unverified(Exception):
    """There is a device, but nothing proves that it is the volume."""


def find(volume: Volume, paths: Paths) -> Optional[Device]:
    """The volume's device or partition, None if it is not there (yet). Raises Unverified."""
    for name in _disks(paths):
        if _serial(name, paths) == volume.serial:
            return _verified(name, volume, paths)
    for link in _links(volume, paths):
        name = os.path.basename(os.path.realpath(link))
        found = _serial(name, paths) or _serial_by_lsblk(os.path.realpath(link))
        if found != volume.serial:
            says = f"its serial is {found}" if found else "the kernel knows no serial of it"
            raise Unverified(f"{link} points at {name}, but {says}: not trusted to be {volume.id}")
        return _verified(name, volume, paths)
    return None


def wait(volume: Volume, paths: Paths, until: float, stop: "object" = None) -> Optional[Device]:
    """The device as soon as it can be verified; None at the deadline or when `stop()` is true.

    Raises Unverified if at the deadline there is one that cannot be verified.
    """
    while True:
        try:
            device = find(volume, paths)
        except Unverified:
            # udev may be at work on the link: that is not the last word before the deadline.
            if time.time() >= until:
                raise
            device = None
        if device is not None or time.time() >= until or (callable(stop) and stop()):
            return device
        time.sleep(LOOK_SECONDS)


def is_gone(number: str, paths: Paths) -> bool:
    """Whether the device behind a mount was pulled: removed, or shrunk to nothing."""
    home = os.path.join(paths.sys_dev, number)
    if number.startswith("0:"):
        return False
    sizes = [files.read(f"{home}/size")]
    if os.path.exists(f"{home}/partition"):
        sizes.append(files.read(os.path.join(os.path.realpath(home), "..", "size")))
    return any(size is None or int(size) < SMALLEST_SECTORS for size in sizes)


def in_use(device: Device, until: float) -> bool:
    """Whether the kernel still uses it: mounted in a namespace that nobody can see, detached
    lazily, or, after an unmount, still being written: the mount is gone from every table before
    the last page is on disk."""

    def claim() -> int:
        descriptor = os.open(device.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
        os.close(descriptor)
        return 0

    return children.call(claim, until).code in (errno.EBUSY, None)


def flush(device: Device, until: float) -> Optional[int]:
    """Write out and drop what the block layer still caches: 0, an errno, or None past the deadline."""

    def work() -> int:
        import fcntl

        descriptor = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(descriptor)
        fcntl.ioctl(descriptor, 0x1261)  # BLKFLSBUF, what `blockdev --flushbufs` calls
        return 0

    return children.call(work, until).code


def number_of(path: str) -> Optional[str]:
    """major:minor of a block device's file, None if it is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISBLK(found.st_mode):
        return None
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def _disks(paths: Paths) -> "list[str]":
    try:
        return sorted(os.listdir(paths.sys_block))
    except OSError:
        return []


def _serial(name: str, paths: Paths) -> str:
    """The serial number as the kernel read it from the device."""
    for leaf in ("device/serial", "serial"):
        text = files.read(f"{paths.sys_block}/{name}/{leaf}")
        if text:
            return text.replace("-", "")
    return ""


def _serial_by_lsblk(path: str) -> str:
    ended = children.run(["lsblk", "--nodeps", "--noheadings", "-o", "SERIAL", path], time.time() + 2)
    return ended.output.strip().replace("-", "") if ended.code == 0 else ""


def _links(volume: Volume, paths: Paths) -> "list[str]":
    """udev's links, with and without the namespace that some images append."""
    plain = f"{paths.by_id}/nvme-Amazon_Elastic_Block_Store_{volume.serial}"
    return [link for link in (plain, f"{plain}-ns-1", f"{plain}_1") if os.path.exists(link)]


def _verified(name: str, volume: Volume, paths: Paths) -> Optional[Device]:
    """The device's file, whose number must be the one that the kernel gave to this serial."""
    home = f"{paths.sys_block}/{name}"
    if volume.partition is not None:
        name = f"{name}{'p' if name[-1].isdigit() else ''}{volume.partition}"
        home = f"{home}/{name}"
    number, path = files.read(f"{home}/dev"), f"{paths.dev}/{name}"
    if number is None or not os.path.exists(path):
        return None
    if number_of(path) != number:
        raise Unverified(f"{path} is not the device {number} of {volume.id}: not trusted")
    return Device(path, number)
