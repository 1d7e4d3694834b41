"""EBS volumes: image files, one new loop device per attachment, and ways to lose them.

One device shared by two hosts would share the kernel's superblock and hide divergence; separate
ones show it. A device is yanked as an NVMe device is unplugged: the filesystem is shut down first,
without writing its log out, for a task that waits for a dead device hangs for ever.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from lab.hosts import bounded, kernel

INSIDE = Path(__file__).parent / "inside"
THROTTLE = Path("/sys/fs/cgroup/blkio")
RATES = ("blkio.throttle.write_bps_device", "blkio.throttle.read_bps_device")
MODEL = "Amazon Elastic Block Store"
YANK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Attachment:
    """A volume on a host: EC2's device name, the kernel's name there, and the loop device."""

    volume: str
    host: str
    device: str
    node: str
    loop: kernel.Loop


def shut_down(loop: kernel.Loop) -> None:
    """Shut down the filesystem on a device: what is not on the device yet is lost.

    After this nothing waits for the device any more. Raises Stuck or Failed.
    """
    failures = []
    for mount in kernel.mounts(loop.number):
        try:
            _device("shutdown", f"/proc/{mount.pid}/root{mount.point}")
            return
        except bounded.Failed as error:
            # The process by whose eyes it was seen may just have ended; others see it too.
            failures.append(str(error))
    if failures and kernel.mounts(loop.number):
        raise bounded.Failed("; ".join(failures))


def yank(loop: kernel.Loop) -> None:
    """Unplug a device, whoever uses it. Raises Stuck or Failed, having done what could be done."""
    release(loop)
    try:
        shut_down(loop)
    finally:
        _device("yank", loop.path)
        bounded.run(["losetup", "-d", loop.path], check=False, seconds=YANK_SECONDS)


def can_stick() -> bool:
    """Whether this machine can make a device hang: by the blkio throttle of cgroup version 1."""
    return all((THROTTLE / name).exists() for name in RATES)


def stick(loop: kernel.Loop) -> None:
    """Let every read and write of a device hang, uninterruptibly. Raises Failed if impossible."""
    _throttle(loop, "1")


def release(loop: kernel.Loop) -> None:
    """End stick()."""
    if can_stick():
        _throttle(loop, "0")


def _throttle(loop: kernel.Loop, rate: str) -> None:
    try:
        for name in RATES:
            (THROTTLE / name).write_text(f"{loop.number} {rate}\n", encoding="ascii")
    except OSError as error:
        raise bounded.Failed(
            f"cannot make {loop.path} hang: this machine has no blkio throttle of cgroup version 1 ({error})"
        ) from error


def _device(verb: str, path: str) -> None:
    bounded.run([sys.executable, "-IS", str(INSIDE / "device.py"), verb, path], seconds=YANK_SECONDS)


class Disks:
    """The volumes of one lab, and which host has which."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._attached: dict[tuple[str, str], Attachment] = {}
        self._lock = threading.RLock()

    def image(self, volume: str) -> Path:
        """The file that is the volume."""
        return self._directory / f"{volume}.img"

    def create(self, volume: str, *, megabytes: int = 64, filesystem: str | None = None) -> None:
        """A new volume: blank, or with a filesystem (`ext4`; `xfs` needs 300 megabytes)."""
        path = self.image(volume)
        with path.open("wb") as file:
            file.truncate(megabytes << 20)
        if filesystem:
            quiet = {"ext4": ["-q", "-F", "-E", "nodiscard"], "xfs": ["-q", "-f"]}[filesystem]
            bounded.run([f"mkfs.{filesystem}", *quiet, str(path)], seconds=30)

    def attach(self, volume: str, host: str, device: str, init: int) -> Attachment:
        """Make a new device of the volume appear in a host."""
        with self._lock:
            if (volume, host) in self._attached:
                return self._attached[volume, host]
            name = _new_loop(self.image(volume))
            number = Path(f"/sys/block/{name}/dev").read_text(encoding="ascii").strip()
            loop = kernel.Loop(name, number, str(self.image(volume)))
            attachment = Attachment(volume, host, device, self._free_node(host), loop)
            self._attached[volume, host] = attachment
        appear(Path(f"/proc/{init}/root"), attachment)
        return attachment

    def detach(self, volume: str, host: str, init: int, *, force: bool) -> bool:
        """Take it away. False, and nothing done, while a filesystem lives on it, unless forced."""
        found = self.of(volume, host)
        if found is None:
            return True
        if not force and (found.loop.has_filesystem or kernel.mounts(found.loop.number)):
            return False
        if force:
            yank(found.loop)
        else:
            bounded.run(["losetup", "-d", found.loop.path], check=False)
        vanish(Path(f"/proc/{init}/root"), found)
        self._forget(found)
        return True

    def power_cut(self, host: str) -> list[str]:
        """Yank all of a host's devices; in words, what did not work."""
        trouble = []
        for attachment in self.all(host):
            try:
                yank(attachment.loop)
            except (bounded.Stuck, bounded.Failed) as error:
                trouble.append(f"{attachment.volume} on {host} could not be yanked: {error}")
            self._forget(attachment)
        return trouble

    def stick(self, volume: str, host: str) -> None:
        """Let every read and write of a volume hang on a host, uninterruptibly, until release()."""
        found = self.of(volume, host)
        if found is not None:
            stick(found.loop)

    def release(self, volume: str, host: str) -> None:
        """End stick(); so do a detach and a power cut."""
        found = self.of(volume, host)
        if found is not None:
            release(found.loop)

    def of(self, volume: str, host: str) -> Attachment | None:
        """The attachment, if there is one."""
        with self._lock:
            return self._attached.get((volume, host))

    def all(self, host: str | None = None) -> list[Attachment]:
        """All attachments, or those of a host."""
        with self._lock:
            return [each for each in self._attached.values() if host in (None, each.host)]

    def _forget(self, attachment: Attachment) -> None:
        with self._lock:
            self._attached.pop((attachment.volume, attachment.host), None)

    def _free_node(self, host: str) -> str:
        taken = {each.node for each in self.all(host)}
        return next(f"nvme{n}n1" for n in range(1, 64) if f"nvme{n}n1" not in taken)


def _new_loop(image: Path) -> str:
    """A new loop device; past the page cache, where the filesystem below can do that."""
    for direct in (["--direct-io=on"], []):
        done = bounded.run(["losetup", *direct, "--find", "--show", str(image)], check=not direct)
        if done.code == 0:
            return Path(done.out.strip()).name
    raise bounded.Failed(f"no loop device for {image}")


def link_name(volume: str) -> str:
    """udev's link for an EBS volume."""
    return f"nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"


def appear(root: Path, attachment: Attachment) -> None:
    """Enter a device in a host: node, udev's link, and the kernel's files about it.

    The files are where the kernel has an NVMe device's; /sys/block itself shows loop devices,
    those of other hosts too, so the host has empty directories in its place.
    """
    major, minor = (int(part) for part in attachment.loop.number.split(":"))
    block = root / "sys/block" / attachment.node
    (block / "device").mkdir(parents=True)
    size = Path(f"/sys/block/{attachment.loop.name}/size").read_text(encoding="ascii")
    for name, text in (
        ("device/serial", attachment.volume.replace("-", "") + "\n"),
        ("device/model", MODEL + "\n"),
        ("dev", attachment.loop.number + "\n"),
        ("size", size),
    ):
        (block / name).write_text(text, encoding="ascii")
    for index, name in (("class/block", attachment.node), ("dev/block", attachment.loop.number)):
        (root / "sys" / index / name).symlink_to(f"../../block/{attachment.node}")
    os.mknod(root / "dev" / attachment.node, 0o660 | stat.S_IFBLK, os.makedev(major, minor))
    (root / "dev/disk/by-id" / link_name(attachment.volume)).symlink_to(f"../../{attachment.node}")


def vanish(root: Path, attachment: Attachment) -> None:
    """Undo appear(), in a host that may be gone."""
    block = root / "sys/block" / attachment.node
    for path in (
        root / "dev/disk/by-id" / link_name(attachment.volume),
        root / "dev" / attachment.node,
        root / "sys/class/block" / attachment.node,
        root / "sys/dev/block" / attachment.loop.number,
        *(block / name for name in ("device/serial", "device/model", "dev", "size")),
    ):
        path.unlink(missing_ok=True)
    for directory in (block / "device", block):
        if directory.exists():
            directory.rmdir()
