"""A node for the node script's tests: real namespaces, real loop devices, real filesystems.

Its own mount, PID and network namespaces, so that the script sees the test's processes only, and can
harm no others. Nothing waits without a bound, and no process inherits pytest's output: one that is
stuck in the kernel must not hold it open.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = str(REPOSITORY / "node_hook/node.py")
BOOT = "11111111-2222-3333-4444-555555555555"
VOLUME = "vol-0aaaaaaaaaaaaaaaa"
_SYSTEM = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
PYTHON = os.environ.get("BATON_NODE_PYTHON", _SYSTEM)
"""What runs the node script: a distribution's interpreter, 3.9 and newer."""

_LOOP_GET_STATUS64, _LOOP_SET_STATUS64 = 0x4C05, 0x4C04
_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN


@dataclass
class Ran:
    """A command that ended: exit code, answer (the last line of output), progress."""

    code: int
    answer: dict[str, Any]
    progress: str

    @property
    def gist(self) -> tuple[str, str]:
        """Result and code."""
        return self.answer["result"], self.answer["code"]


@dataclass
class Disk:
    """A volume: an image file, attached as a loop device or not."""

    image: Path
    volume: str
    loop: str = ""
    name: str = ""

    @property
    def number(self) -> str:
        return Path(f"/sys/block/{Path(self.loop).name}/dev").read_text().strip()


@dataclass
class Node:
    """One node. `node()` runs the node script in it, `sh()` a shell command."""

    home: Path
    init: int
    config: dict[str, Any] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def mount(self) -> str:
        return str(self.home / "srv")

    def node(self, *words: str, timeout: float = 30, python: str = PYTHON) -> Ran:
        """Run the node script and wait for its answer."""
        process, out, err = self.begin(*words, python=python)
        return self.end(process, out, err, timeout)

    def begin(
        self, *words: str, python: str = PYTHON, script: tuple[str, ...] = (SCRIPT,)
    ) -> tuple[subprocess.Popen[bytes], Path, Path]:
        """Start the node script, or one that runs it."""
        self.write_config()
        folder = Path(tempfile.mkdtemp(dir=self.home))
        out, err = folder / "out", folder / "err"
        argv = [python, "-IS", *script, *words]
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                [*self.enter(), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=self.environment(),
                start_new_session=True,
            )
        self.started.append(process)
        return process, out, err

    def end(self, process: subprocess.Popen[bytes], out: Path, err: Path, timeout: float) -> Ran:
        """Wait for a script that was begun."""
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"no end within {timeout} s: {err.read_text()}") from None
        lines = out.read_text().splitlines()
        assert len(lines) <= 1, f"more than the answer on stdout: {lines}"
        return Ran(code, json.loads(lines[-1]) if lines else {}, err.read_text())

    def release(self, epoch: int, *more: str, seconds: float = 5, timeout: float = 30) -> Ran:
        deadline = f"{time.time() + seconds:.3f}"
        words = ("--cluster", "orders", "--epoch", str(epoch), "--deadline", deadline)
        return self.node("release", *words, *more, timeout=timeout)

    def acquire(self, epoch: int, *more: str, seconds: float = 8, boot: str = BOOT) -> Ran:
        deadline = f"{time.time() + seconds:.3f}"
        words = ("--cluster", "orders", "--epoch", str(epoch), "--boot", boot, "--deadline", deadline)
        return self.node("acquire", *words, *more)

    def status(self) -> dict[str, Any]:
        return self.node("status", "--cluster", "orders").answer

    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.init), "-m", "-p", "-n", "--"]

    def environment(self) -> dict[str, str]:
        path = f"{self.home}/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
        return {"PATH": path, "BATON_CONFIG": str(self.home / "etc/node.json"), "HOME": str(self.home)}

    def sh(self, command: str, timeout: float = 10) -> str:
        """Run a shell command in the node; its output. Raises if it fails."""
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [*self.enter(), "sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env=self.environment(),
                check=False,
            )
            output.seek(0)
            text = output.read().decode()
        assert done.returncode == 0, f"{command}: {text}"
        return text

    def spawn(self, command: str, ready: Callable[[], bool] | None = None) -> subprocess.Popen[bytes]:
        """Start a shell command in the node and leave it running."""
        process = subprocess.Popen(
            [*self.enter(), "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment(),
            start_new_session=True,
        )
        self.started.append(process)
        if ready is not None:
            wait_for(ready)
        return process

    def mounted(self) -> bool:
        """Whether the volume's place is mounted, by the kernel's table of this node."""
        text = Path(f"/proc/{self.init}/mountinfo").read_text()
        return any(line.split()[4] == self.mount for line in text.splitlines())

    def write_config(self) -> None:
        path = self.home / "etc/node.json"
        path.write_text(json.dumps(self.config))
        path.chmod(0o644)

    def memory(self) -> dict[str, Any]:
        """The epoch file."""
        found: dict[str, Any] = json.loads((self.home / "state/epoch.json").read_text())
        return found

    def held(self) -> str:
        """The track file."""
        path = self.home / "run/hold"
        return path.read_text() if path.exists() else ""

    def disk(
        self,
        name: str = "nvme1n1",
        *,
        volume: str = VOLUME,
        make: str = "mkfs.ext4 -q -F",
        shelf: Path | None = None,
    ) -> Disk:
        """A new volume, formatted by `make` if it says so, and attached. Its image lies on the shelf."""
        image = (shelf or self.home) / f"{volume}.img"
        size = (320 if "xfs" in make else 32) << 20
        with image.open("wb") as file:
            file.truncate(size)
        if make:
            subprocess.run([*make.split(), str(image)], check=True, timeout=20, capture_output=True)
        disk = Disk(image, volume)
        self.attach(disk, name)
        return disk

    def attach(self, disk: Disk, name: str = "nvme1n1", serial: str | None = None) -> None:
        """Make the disk appear as the kernel and udev would show an EBS volume."""
        disk.loop = loop_of(disk.image)
        disk.name = name
        plain = (disk.volume if serial is None else serial).replace("-", "")
        block = self.home / "sys/block" / name
        (block / "device").mkdir(parents=True)
        if plain:
            (block / "device/serial").write_text(f"{plain}\n")
        (block / "dev").write_text(disk.number + "\n")
        major, minor = (int(part) for part in disk.number.split(":"))
        os.mknod(self.home / "dev" / name, 0o660 | 0o060000, os.makedev(major, minor))
        link = f"nvme-Amazon_Elastic_Block_Store_{disk.volume.replace('-', '')}"
        (self.home / "by-id" / link).symlink_to(self.home / "dev" / name)

    def detach(self, disk: Disk) -> None:
        """The device vanishes from the node's view; a mount of it would live on."""
        shutil.rmtree(self.home / "sys/block" / disk.name, ignore_errors=True)
        (self.home / "dev" / disk.name).unlink(missing_ok=True)
        for link in (self.home / "by-id").iterdir():
            if os.path.basename(os.readlink(link)) == disk.name:
                link.unlink()

    def end_spawned(self) -> None:
        """End what was started in the node, and let the node itself, which was first, go on."""
        self._end(self.started[1:])
        del self.started[1:]

    def stop_all(self) -> None:
        """End what was started in the node, and the node with it."""
        self._end(self.started)
        self.started.clear()

    def _end(self, started: list[subprocess.Popen[bytes]]) -> None:
        living = [process for process in started if process.poll() is None]
        for process in living:
            os.killpg(process.pid, signal.SIGKILL)
        for process in living:
            with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: left behind
                process.wait(5)

    def drop_loops(self) -> None:
        """Give its loop devices back."""
        argv = ["losetup", "-l", "-n", "-O", "NAME,BACK-FILE"]
        listed = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
        for line in listed.stdout.splitlines():
            if f"{self.home}/" in line and "shelf.img" not in line:
                argv = ["losetup", "-d", line.split()[0]]
                subprocess.run(argv, timeout=10, check=False, capture_output=True)

    @contextmanager
    def shelf(self) -> Iterator[Path]:
        """A filesystem for images. While it is frozen (`frozen`) the devices made of them hang."""
        place, image = self.home / "shelf", self.home / "shelf.img"
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(96 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, timeout=20)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, timeout=20)
        try:
            yield place
        finally:
            self.stop_all()
            self.drop_loops()
            subprocess.run(["umount", "-l", str(place)], check=True, timeout=20)

    def yank(self, disk: Disk) -> None:
        """Pull the device under whatever is mounted from it: a force-detach."""
        code = (
            f"import fcntl,os; fcntl.ioctl(os.open({self.mount!r}, 0), {_SHUTDOWN}, (2).to_bytes(4,'little'))"
        )
        if self.mounted():
            self.sh(f'timeout 5 {PYTHON} -c "{code}"')
        shrink(disk.loop)
        self.detach(disk)


@contextmanager
def frozen(shelf: Path) -> Iterator[None]:
    """Every write to a device whose image lies there sleeps in the kernel, beyond any signal."""
    subprocess.run(["fsfreeze", "-f", str(shelf)], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", str(shelf)], check=True, timeout=20)


def loop_of(image: Path) -> str:
    """Attach an image to a new loop device."""
    done = subprocess.run(
        ["losetup", "--show", "-P", "-f", str(image)], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def shrink(loop: str) -> None:
    """One sector is left of the device: every further I/O fails."""
    descriptor = os.open(loop, os.O_RDONLY)
    try:
        status = bytearray(232)
        fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, status)
        status[32:40] = struct.pack("<Q", 512)
        fcntl.ioctl(descriptor, _LOOP_SET_STATUS64, bytes(status))
    finally:
        os.close(descriptor)


def wait_for(holds: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until something holds; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.01)


@contextmanager
def node() -> Iterator[Node]:
    """A node, taken down with everything that was started in it."""
    home = Path(tempfile.mkdtemp(prefix="baton-node-"))
    for name in ("bin", "etc", "state", "run", "sys/block", "dev", "by-id", "units"):
        (home / name).mkdir(parents=True)
    (home / "boot_id").write_text(BOOT + "\n")
    (home / "bin/systemctl").write_text(SYSTEMCTL.replace("@HOME@", str(home)))
    (home / "bin/systemctl").chmod(0o755)
    argv = ["unshare", "-m", "-p", "-n", "--propagation", "private", "--fork", "--kill-child", "--mount-proc"]
    holder = subprocess.Popen(
        [*argv, "sleep", "600"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    made = Node(home, _child_of(holder.pid), config_of(home), [holder])
    try:
        yield made
    finally:
        _take_down(made)


def _child_of(pid: int) -> int:
    found: list[str] = []

    def look() -> bool:
        found[:] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return bool(found) and Path(f"/proc/{found[0]}/comm").read_text().strip() == "sleep"

    wait_for(look)
    return int(found[0])


def _take_down(made: Node) -> None:
    made.stop_all()
    made.drop_loops()
    shutil.rmtree(made.home, ignore_errors=True)


def config_of(home: Path) -> dict[str, Any]:
    """node.json of such a node, with one ext4 volume."""
    return {
        "version": 1,
        "stage": "test",
        "cluster": "orders",
        "node": "i-0123456789abcdef0",
        "priority": 254,
        "volumes": [{"id": VOLUME, "mount": str(home / "srv"), "filesystem": "ext4", "options": ["noatime"]}],
        "units": [],
        "unit_seconds": 2,
        "paths": {
            "state": str(home / "state"),
            "run": str(home / "run"),
            "boot_id": str(home / "boot_id"),
            "dev": str(home / "dev"),
            "by_id": str(home / "by-id"),
            "sys_block": str(home / "sys/block"),
            "keepalived_pid": str(home / "run/keepalived.pid"),
        },
    }


SYSTEMCTL = r"""#!/bin/bash
# A stand-in for systemctl: a unit is a script in units/, its state a pid in units/NAME.pid.
cd @HOME@/units
verb=$1; shift
echo "$verb $*" >> log
alive() { [ -e $1.pid ] && kill -0 $(cat $1.pid) 2>/dev/null; }
code=0
for unit in "$@"; do
  case $unit in -*) continue;; esac
  case $verb in
    is-active) if alive $unit; then echo active; else echo inactive; code=3; fi;;
    start) alive $unit && continue
      [ -e $unit ] || { echo "Unit $unit not found."; exit 5; }
      setsid bash ./$unit </dev/null >/dev/null 2>&1 & echo $! > $unit.pid
      sleep 0.05; alive $unit || { echo "Job for $unit failed."; exit 1; };;
    stop) alive $unit || continue
      kill -TERM -- -$(cat $unit.pid)
      while alive $unit; do sleep 0.02; done; rm -f $unit.pid;;
    kill) alive $unit && kill -KILL -- -$(cat $unit.pid); rm -f $unit.pid;;
  esac
done
exit $code
"""
