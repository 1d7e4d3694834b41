"""A host's power: how it comes up, and the ways in which it goes down.

Trap: killing a host's init unmounts its filesystems *cleanly*, and so flushes what was not fsynced.
A power cut is therefore: off the network, filesystems shut down, devices yanked, then killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Set
from pathlib import Path

from lab.hosts import bounded, kernel
from lab.hosts.disks import Disks
from lab.hosts.network import INSIDE, Network, wait_until, wait_up
from lab.hosts.spec import PERSISTENT, REPOSITORY, Spec, install

BOOT_SECONDS = 20.0
DIE_SECONDS = 5.0
"""After SIGKILL to init: longer means that something hangs in the kernel."""
UNMOUNT_SECONDS = 5.0


class Power:
    """On or off, with all that belongs to one boot."""

    def __init__(
        self,
        spec: Spec,
        directory: Path,
        network: Network,
        disks: Disks,
        environment: dict[str, str],
        trouble: list[str],
    ) -> None:
        self.spec = spec
        self.directory = directory
        self.boot_id = ""
        self.init = 0
        self.namespace = ""
        self.agent_hangs = False
        self.trouble = trouble
        """What could not be done cleanly, in words; shared by the whole lab."""
        self.volumes: dict[str, str] = {}
        """What EC2 has attached, with its device names: there again after each boot."""
        self.port = f"p{int(spec.address.rpartition('.')[2])}"
        self._network = network
        self._disks = disks
        self._environment = environment
        self._parent: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._closed = False

    @property
    def on(self) -> bool:
        """Whether its init lives."""
        return self._parent is not None and kernel.alive(self.init)

    # ------------------------------------------------------------------------------------ on

    def boot(self) -> None:
        """Come up, with the network; units are not started yet."""
        with self._lock:
            if self.on:
                return
            if self._closed:
                raise bounded.Failed(f"{self.spec.name} cannot boot: its lab is being closed")
            self.off()
            self.boot_id = str(uuid.uuid4())
            self.agent_hangs = False
            install(self.spec, self.directory / "install")
            self._start_init()
            try:
                self._network.join(self.port, self.init, self.spec.address)
                self._start_metadata()
                for volume, device in self.volumes.items():
                    self._disks.attach(volume, self.spec.instance, device, self.init)
            except BaseException:
                self.off()
                raise

    def _start_init(self) -> None:
        ready, said = os.pipe()
        with (self.directory / "init.log").open("ab") as log:
            self._parent = bounded.start(
                [
                    "unshare",
                    "-nmpui",
                    "--fork",
                    "--kill-child",
                    "--propagation",
                    "private",
                    sys.executable,
                    "-IS",
                    str(INSIDE / "init.py"),
                    str(self._plan()),
                    str(said),
                ],
                err=log,
                env=self._environment,
                pass_fds=(said,),
            )
        os.close(said)
        try:
            wait_up(ready, self.spec.name, BOOT_SECONDS)
        except BaseException:
            bounded.end(self._parent)
            self._parent = None
            raise
        self.init = bounded.children(self._parent.pid)[0]
        self.namespace = kernel.namespace(self.init, "pid")

    def _plan(self) -> Path:
        binds: list[tuple[str, str, bool]] = []
        for path in (*PERSISTENT, *self.spec.persistent):
            kept = self.directory / "disk" / path.lstrip("/")
            kept.mkdir(parents=True, exist_ok=True)
            binds.append((str(kept), path, False))
        for name, path in (("log", "/var/log/lab"), ("lab", "/run/lab")):
            (self.directory / name).mkdir(exist_ok=True)
            binds.append((str(self.directory / name), path, False))
        plan = self.directory / "boot.json"
        plan.write_text(
            json.dumps(
                {
                    "hostname": self.spec.name,
                    "directory": str(self.directory),
                    "boot": self.boot_id,
                    "binds": [*binds, *elsewhere(self.spec)],
                }
            ),
            encoding="utf-8",
        )
        return plan

    def _start_metadata(self) -> None:
        ready, said = os.pipe()
        with (self.directory / "log/imds.log").open("ab") as log:
            bounded.start(
                [
                    "nsenter",
                    "-t",
                    str(self.init),
                    "-m",
                    "-u",
                    "-i",
                    "-n",
                    "-p",
                    "--",
                    "/usr/lib/lab/imds",
                    "/run/lab/imds.json",
                    str(said),
                ],
                err=log,
                env=self._environment,
                pass_fds=(said,),
            )
        os.close(said)
        wait_up(ready, f"the metadata service of {self.spec.name}")

    # ----------------------------------------------------------------------------------- off

    def off(self) -> None:
        """A power cut. Bounded; off already: nothing."""
        with self._lock:
            if self._parent is None:
                return
            self._network.leave(self.port)
            # The processors stop at once; the devices are yanked one after the other.
            self.signal_all(signal.SIGSTOP)
            self.trouble += self._disks.power_cut(self.spec.instance)
            self._kill()

    def off_in_order(self) -> None:
        """After the units have stopped: the rest is killed, filesystems are unmounted cleanly."""
        with self._lock:
            if self._parent is None:
                return
            loops = [each.loop for each in self._disks.all(self.spec.instance)]
            self._network.leave(self.port)
            self._kill()
            until = time.monotonic() + UNMOUNT_SECONDS
            while any(loop.has_filesystem for loop in loops) and time.monotonic() < until:
                time.sleep(0.01)
            self.trouble += self._disks.power_cut(self.spec.instance)

    def _is_over(self) -> bool:
        for pid in self._entrances():
            bounded.kill(pid, signal.SIGCONT)
        return not kernel.within(self.namespace)

    def _kill(self) -> None:
        assert self._parent is not None
        bounded.kill(self.init)
        # Init ends after the last process of its namespace was reaped, which is nsenter's duty for
        # its child; and nsenter was stopped with a frozen child.
        # One that has yet to notice its child's stop stops after a first SIGCONT: so each time anew.
        try:
            wait_until(self._is_over, "the end of its processes", DIE_SECONDS)
        except bounded.Stuck:
            left = [kernel.process(pid) for pid in kernel.within(self.namespace)]
            self.trouble.append(f"processes of {self.spec.name} hang in the kernel: {left}")
        bounded.end(self._parent)
        self._parent = None

    def close(self) -> None:
        """Never boot again. A boot under way is waited for, but not long: the sweep ends it."""
        held = self._lock.acquire(timeout=DIE_SECONDS)
        self._closed = True
        if held:
            self._lock.release()

    # ------------------------------------------------------------------------------- volumes

    def attach(self, volume: str, device: str) -> None:
        """Let a volume appear, now or at the next boot. There already: nothing."""
        with self._lock:
            self.volumes[volume] = device
            if self.on:
                self._disks.attach(volume, self.spec.instance, device, self.init)

    def detach(self, volume: str, force: bool) -> bool:
        """Let go of a volume; False, and nothing done, while it is mounted, unless forced."""
        with self._lock:
            gone = self._disks.detach(volume, self.spec.instance, self.init, force=force)
            if gone:
                self.volumes.pop(volume, None)
            return gone

    # ------------------------------------------------------------------------------- signals

    def signal_all(self, number: int, but: Set[int] = frozenset()) -> None:
        """Signal every process, those forked meanwhile too."""
        if not self.on:
            return
        seen: set[int] = set()
        while True:
            new = set(kernel.within(self.namespace)) - seen - but
            if not new:
                return
            for pid in new:
                bounded.kill(pid, number)
            seen |= new
            # nsenter stops itself when its child is stopped, and does not go on with it.
            for pid in self._entrances() if number == signal.SIGCONT else ():
                bounded.kill(pid, number)

    def _entrances(self) -> set[int]:
        """The nsenter processes, outside, that are parents of processes inside."""
        parents = {kernel.parent(pid) for pid in kernel.within(self.namespace)}
        found = {pid: kernel.process(pid) for pid in parents}
        return {pid for pid, process in found.items() if process and process.name == "nsenter"}


def elsewhere(spec: Spec) -> list[tuple[str, str, bool]]:
    """Directories that the host needs and that its root, the machine's, does not show."""
    root = os.stat("/").st_dev
    needed = {
        str(REPOSITORY),
        sys.prefix,
        sys.base_prefix,
        str(spec.python.parent.parent),
        "/usr",
        "/opt",
        "/home",
    }
    return [(path, path, True) for path in sorted(needed) if os.path.isdir(path) and _is_hidden(path, root)]


def _is_hidden(path: str, root: int) -> bool:
    """Whether a host would not see it: on another filesystem, or where a host has one of its own."""
    own = path.startswith(("/tmp/", "/var/tmp/", "/run/"))  # noqa: S108 - names, not files
    return own or os.stat(path).st_dev != root
