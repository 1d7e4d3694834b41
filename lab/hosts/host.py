"""One host: what can be done with it while it runs, and the faults that can be put on it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.hosts import bounded, kernel, network
from lab.hosts.agent import Mailbox
from lab.hosts.disks import Disks
from lab.hosts.network import Network, wait_until
from lab.hosts.power import Power
from lab.hosts.spec import AGENT_UNIT, Spec, metadata

AGENT_PROCESS = "amazon-ssm-agent"[:15]
"""A process name is cut by the kernel."""

KEEPALIVED = "keepalived.service"

STOPPED = "TtZXD"
"""States in which a process runs no instruction of its own."""

ANYBODY = "0.0.0.0/0"

START_SECONDS = 60.0
SHUTDOWN_SECONDS = 60.0
"""A node's own release at a shutdown takes up to 40 s."""


class HostDown(Exception):
    """The host is off: nothing can be run in it."""


class Host:
    """A host of the lab. Made by Hosts.add; off until boot()."""

    def __init__(
        self,
        spec: Spec,
        directory: Path,
        net: Network,
        disks: Disks,
        environment: dict[str, str],
        peers: Callable[[], list[str]],
        trouble: list[str],
    ) -> None:
        self.spec = spec
        self.directory = directory
        self.secondary: tuple[str, ...] = ()
        """Service addresses that EC2's records give to this host; its metadata says so."""
        (directory / "lab").mkdir(parents=True)
        self.mailbox = Mailbox(directory / "lab/agent.sock")
        self.power = Power(spec, directory, net, disks, environment, trouble)
        self._network = net
        self._peers = peers
        self._environment = environment
        self._deaf: list[str] = []
        self._cut = False
        self.write_metadata()

    @property
    def name(self) -> str:
        """Its host name."""
        return self.spec.name

    @property
    def instance(self) -> str:
        """Its instance id."""
        return self.spec.instance

    @property
    def address(self) -> str:
        """Its primary address."""
        return self.spec.address

    @property
    def up(self) -> bool:
        """Whether its power is on; a frozen host is up."""
        return self.power.on

    @property
    def boot_id(self) -> str:
        """The present or last boot's id."""
        return self.power.boot_id

    @property
    def init(self) -> int:
        """Its PID 1, in the machine's numbers. Raises HostDown."""
        if not self.power.on:
            raise HostDown(f"{self.name} ({self.instance}) is powered off")
        return self.power.init

    # ------------------------------------------------------------------------------ programs

    def run(
        self, argv: Sequence[str], timeout: float = 20.0, *, check: bool = True, text: str = ""
    ) -> bounded.Completed:
        """Run a program in the host to its end. Raises HostDown, bounded.Stuck, bounded.Failed."""
        return bounded.run(self._inside(argv), seconds=timeout, env=self._environment, check=check, text=text)

    def spawn(self, argv: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        """Start a program in the host; its output goes to log(name). It dies with the host."""
        with self.log(log).open("ab") as out:
            return bounded.start(self._inside(argv), out=out, err=out, env=self._environment)

    def _inside(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-n", "-p", "--", *argv]

    def systemctl(self, *words: str, timeout: float = 30.0, check: bool = True) -> bounded.Completed:
        """Run systemctl in the host."""
        return self.run(["systemctl", *words], timeout, check=check)

    def log(self, name: str) -> Path:
        """A log by name, kept over reboots; a unit's output is in `<unit>.log`."""
        return self.directory / "log" / name

    def file(self, path: str) -> Path:
        """A file of the running host, seen from outside: /proc/<init>/root/<path>."""
        return Path(f"/proc/{self.init}/root") / path.lstrip("/")

    # --------------------------------------------------------------------------------- power

    def boot(self) -> None:
        """Power on, start the units. Returns when they have started. On already: nothing."""
        if self.up:
            return
        self.power.boot()
        self.learn_neighbours()
        if self._cut:
            self._network.cut(self.power.port)
        for source in self._deaf:
            self._vrrp("-I", source)
        self.systemctl("isolate", "default.target", timeout=START_SECONDS, check=False)

    def shutdown(self, seconds: float = SHUTDOWN_SECONDS) -> None:
        """Orderly: units stop in order, filesystems are unmounted; past the time, power_off()."""
        try:
            self.systemctl("isolate", "shutdown.target", timeout=seconds, check=False)
        except bounded.Stuck as stuck:
            self.power.trouble.append(f"{self.name} did not shut down in time: {stuck}")
            self.power_off()
            return
        except HostDown:
            return
        self.power.off_in_order()

    def power_off(self) -> None:
        """Pull the plug: cut off, devices yanked, killed. Bounded; what is not fsynced is lost."""
        self.power.off()

    def reboot(self, seconds: float = SHUTDOWN_SECONDS) -> None:
        """Orderly reboot: a new boot id, the same disk, the same volumes."""
        self.shutdown(seconds)
        self.boot()

    def reset(self) -> None:
        """A power cut that is over at once, or a kernel panic: the reboot nobody was told of."""
        self.power_off()
        self.boot()

    def freeze(self) -> None:
        """Stop all its processes, as a hypervisor that does not run it; its kernel still answers.

        Returns when they have stopped; one that waits for a device stops when it has got it.
        """
        self.power.signal_all(signal.SIGSTOP)
        wait_until(
            lambda: all(each.state in STOPPED for each in self.processes()), f"the standstill of {self.name}"
        )

    def thaw(self) -> None:
        """Let all go on, but an agent that hangs. Off meanwhile: nothing."""
        hung = set(self.agent_processes()) if self.power.agent_hangs else set()
        self.power.signal_all(signal.SIGCONT, but=hung)

    # ------------------------------------------------------------------------------- network

    def cut(self) -> None:
        """Take its link away, until heal(): no VRRP, no AWS, no clients, after a reboot neither."""
        self._cut = True
        if self.up:
            self._network.cut(self.power.port)

    def heal(self) -> None:
        """Give it back."""
        self._cut = False
        if self.up:
            self._network.heal(self.power.port)

    def drop_vrrp(self, peer: Host | None = None) -> None:
        """Hear no VRRP from a peer, or from anybody, until hear_vrrp(), after a reboot neither.

        One way: the peer still hears this host.
        """
        source = peer.address if peer else ANYBODY
        if source not in self._deaf:
            self._deaf.append(source)
            if self.up:
                self._vrrp("-I", source)

    def hear_vrrp(self, peer: Host | None = None) -> None:
        """Undo drop_vrrp() of the same peer."""
        source = peer.address if peer else ANYBODY
        if source in self._deaf:
            self._deaf.remove(source)
            if self.up:
                self._vrrp("-D", source)

    def _vrrp(self, verb: str, source: str) -> None:
        """In its network namespace alone, so that a frozen host can be made deaf as well."""
        rule = ["iptables", "-w", "5", verb, "INPUT", "-p", "112", "-s", source, "-j", "DROP"]
        bounded.run(["nsenter", "-t", str(self.init), "-n", *rule])

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """IPv4 addresses by interface, as its kernel has them; empty if it is off."""
        return network.addresses(self.init) if self.up else {}

    def learn_neighbours(self) -> None:
        """Find the others, and the service addresses, where EC2's records say. Frozen, too."""
        if self.up:
            bounded.run(
                ["nsenter", "-t", str(self.init), "-n", "ip", "-batch", "-"],
                check=False,
                text=self._network.neighbours(self.address, self._peers()),
            )

    # --------------------------------------------------------------------- agent, keepalived

    def agent_down(self) -> None:
        """Stop the SSM agent."""
        self.systemctl("stop", AGENT_UNIT)

    def agent_up(self) -> None:
        """Start it, or let it go on; what was under way when it was stopped is run again."""
        self.power.agent_hangs = False
        for pid in self.agent_processes():
            bounded.kill(pid, signal.SIGCONT)
        self.systemctl("start", AGENT_UNIT)

    def agent_hang(self) -> None:
        """It stays there and does nothing any more, until agent_up()."""
        self.power.agent_hangs = True
        for pid in self.agent_processes():
            bounded.kill(pid, signal.SIGSTOP)

    def agent_restart(self) -> None:
        """Kill it hard and start it: a command under way is run again."""
        for pid in self.agent_processes():
            bounded.kill(pid)
        self.systemctl("restart", AGENT_UNIT)

    def agent_processes(self) -> list[int]:
        """Processes of the agent itself, in the machine's numbers."""
        return [each.pid for each in self.processes() if each.name == AGENT_PROCESS]

    def keepalived_stop(self) -> None:
        """In order: it gives its address up and says so to its peers."""
        self.systemctl("stop", KEEPALIVED)

    def keepalived_start(self) -> None:
        """Start it by its own unit."""
        self.systemctl("start", KEEPALIVED)

    def keepalived_kill(self) -> None:
        """SIGKILL to all of it: it says nothing and the address stays on the interface."""
        for each in self.processes():
            if each.name == "keepalived":
                bounded.kill(each.pid)

    def processes(self) -> list[kernel.Process]:
        """All its processes, in the machine's numbers; none if it is off."""
        if not self.up:
            return []
        found = map(kernel.process, kernel.within(self.power.namespace))
        return [each for each in found if each is not None]

    def write_metadata(self) -> None:
        """Let the metadata service say what EC2's records say now."""
        path = self.directory / "lab/imds.json"
        text = json.dumps(metadata(self.spec, self.secondary))
        path.with_suffix(".new").write_text(text, encoding="utf-8")
        path.with_suffix(".new").replace(path)
