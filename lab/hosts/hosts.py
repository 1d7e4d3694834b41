"""The lab's hosts: real programs in namespaces of their own, on one machine. Needs root and Linux.

    with Hosts.open() as hosts:
        endpoint = hosts.network.gateway("http://127.0.0.1:5000")   # the URL for the hosts
        hosts.disks.create("vol-0a", megabytes=64, filesystem="ext4")
        a = hosts.add(Spec(instance="i-0a", name="a", address="10.9.0.11", node={...},
                           files={"/etc/keepalived/keepalived.conf": "..."},
                           units=("amazon-ssm-agent.service", "keepalived.service")))
        hosts.boot()                                   # all, at once
        a.run(["ip", "addr"], timeout=5).out

Host   .boot .shutdown .power_off .reboot .reset · .freeze .thaw · .cut .heal .drop_vrrp(peer)
       .hear_vrrp(peer) · .run(argv, timeout) .spawn(argv, log) .systemctl(...) .file(path)
       .log(name) · .agent_down .agent_up .agent_hang .agent_restart, .mailbox (late_seconds,
       answer_late_seconds, twice, lose_commands, lose_answers) · .keepalived_stop
       .keepalived_start .keepalived_kill · .up .boot_id .init .processes() .addresses()
Disks  .create(volume, megabytes, filesystem) .image(volume) .of(volume, instance) .all()
       .stick(volume, instance) .release(volume, instance): hang a device and let it go on
Hosts  .add .boot, [instance] · .mounted() .trouble .metadata_late_seconds · .close
       and lab.cloud.machinery.Machinery: attach detach stop start moved deliver

Nothing waits without a bound; what hangs in the kernel is left behind and said in `trouble`.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lab.hosts import bounded, kernel, reaper
from lab.hosts.agent import later
from lab.hosts.disks import Disks
from lab.hosts.host import SHUTDOWN_SECONDS, Host
from lab.hosts.network import Network
from lab.hosts.spec import Credentials, Spec

if TYPE_CHECKING:
    from lab.cloud.machinery import Delivery

__all__ = ["BASE", "Credentials", "Host", "Hosts", "Mounted", "Spec"]

BASE = Path("/var/tmp/baton-lab")
"""Where labs have their directories. Not in memory: loop devices want a real filesystem."""

FORCED_SECONDS = 5.0
"""StopInstances with Force still tries an orderly shutdown first, but not for long."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume that is mounted in a host; `live`: its device still gives data."""

    host: str
    volume: str
    point: str
    namespace: str
    options: str
    live: bool


class Hosts:
    """All hosts of one lab, their switch and their volumes."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self.trouble: list[str] = []
        self.metadata_late_seconds = 0.0
        """How much later than the fabric the metadata service knows of a moved address."""
        self._hosts: dict[str, Host] = {}
        self._moving = threading.Lock()
        self._lock = lock
        self._environment = {
            kernel.MARK: str(directory),
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self._guard = _guard(directory)
        self.disks = Disks(directory / "volumes")
        self.network = Network(self._environment, directory / "network.log")

    @classmethod
    def open(cls, base: Path = BASE) -> Hosts:
        """A new lab; what interrupted labs left in the same base is swept first."""
        if os.geteuid() != 0 or sys.platform != "linux":
            raise PermissionError("the lab's hosts need root on Linux: namespaces, loop devices")
        base.mkdir(parents=True, exist_ok=True)
        left = reaper.sweep_left(base)
        directory, lock = _directory(base)
        try:
            hosts = cls(directory, lock)
        except BaseException:
            reaper.sweep(directory)
            raise
        hosts.trouble += left
        return hosts

    def __enter__(self) -> Hosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> list[str]:
        """Remove everything. Returns what could not be removed, in words; none is the rule."""
        for host in self:
            # The cloud's threads may still want to start one.
            host.power.close()
            host.mailbox.close()
        left = reaper.sweep(self.directory)
        self.trouble += left
        if self._guard.stdin:
            self._guard.stdin.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        bounded.end(self._guard)
        return left

    # --------------------------------------------------------------------------------- hosts

    def add(self, spec: Spec) -> Host:
        """A new host, powered off."""
        host = Host(
            spec,
            self.directory / "hosts" / spec.name,
            self.network,
            self.disks,
            self._environment,
            lambda: [each.address for each in self],
            self.trouble,
        )
        self._hosts[spec.instance] = host
        return host

    def boot(self) -> None:
        """Boot all hosts that are off, together."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(Host.boot, self))

    def __getitem__(self, instance: str) -> Host:
        return self._hosts[instance]

    def __iter__(self) -> Iterator[Host]:
        return iter(list(self._hosts.values()))

    def mounted(self) -> list[Mounted]:
        """Every volume mounted in any mount namespace of any host, from the kernel alone."""
        found = []
        for each in self.disks.all():
            for mount in kernel.mounts(each.loop.number):
                found.append(
                    Mounted(
                        each.host, each.volume, mount.point, mount.namespace, mount.options, each.loop.live
                    )
                )
        return found

    # ------------------------------------------------------------------- Machinery: for EC2

    def attach(self, instance: str, volume: str, device: str) -> None:
        """Let a volume's device appear."""
        self[instance].power.attach(volume, device)

    def detach(self, instance: str, volume: str, force: bool) -> bool:
        """Let go of a device; False while it is mounted, unless forced."""
        return self[instance].power.detach(volume, force)

    def stop(self, instance: str, force: bool, skip_os_shutdown: bool) -> None:
        """Power off: at once, or after an orderly shutdown."""
        host = self[instance]
        if skip_os_shutdown:
            host.power_off()
        else:
            host.shutdown(FORCED_SECONDS if force else SHUTDOWN_SECONDS)

    def start(self, instance: str) -> None:
        """Boot again."""
        self[instance].boot()

    def moved(self, address: str, interface: str | None, instance: str | None) -> None:
        """Let all hosts find a service address where EC2's records now say it is."""
        holder = self._hosts.get(instance or "")
        with self._moving:
            self.network.where[address] = holder.address if holder else ""
            for host in self:
                kept = tuple(each for each in host.secondary if each != address)
                host.secondary = (*kept, address) if host is holder else kept
                later(self.metadata_late_seconds, host.write_metadata)
                host.learn_neighbours()

    def deliver(self, instance: str, delivery: Delivery) -> None:
        """Hand a command to the agent; raises AgentUnreachable if there is none."""
        self[instance].mailbox.put(delivery)


def _directory(base: Path) -> tuple[Path, int]:
    """A new directory and its lock. Another lab may sweep it before it is locked: then another."""
    while True:
        directory = base / secrets.token_hex(4)
        directory.mkdir()
        lock = reaper.lock(directory)
        if lock is not None:
            return directory, lock


def _guard(directory: Path) -> subprocess.Popen[bytes]:
    """A process that sweeps when ours ends in any way: its standard input ends with us."""
    return bounded.start([sys.executable, reaper.__file__, str(directory)], stdin=subprocess.PIPE)
