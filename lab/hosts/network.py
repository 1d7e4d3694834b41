"""The switch: a network namespace with a bridge, to which hosts are joined and from which cut.

Nothing of it is in the machine's own namespace. The namespace lives as long as its holder process;
the interfaces between it and the hosts are made inside it and go with either end.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lab.hosts import bounded, kernel

GATEWAY = "10.9.0.1"
PREFIX = 24
BRIDGE = "br0"
NOWHERE = "02:00:00:00:00:01"
"""No interface has this hardware address: what is sent there is lost, as EC2 loses it."""
ROUTER = "02:00:00:00:00:02"
"""The gateway's. Left to itself a bridge takes one of its ports', and changes it as hosts come and go: the
others then lose the way to AWS until their neighbour entries have expired, for half a minute."""

START_SECONDS = 10.0
INSIDE = Path(__file__).parent / "inside"


def hardware(address: str) -> str:
    """The hardware address of the interface with this primary address."""
    return "02:0a:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def wait_up(ready: int, what: str, seconds: float = START_SECONDS) -> None:
    """Wait until a starting process says `up` on this pipe. Raises bounded.Failed with its words."""
    readable, _, _ = select.select([ready], [], [], seconds)
    said = os.read(ready, 4096).decode(errors="replace") if readable else "no answer"
    os.close(ready)
    if said != "up":
        raise bounded.Failed(f"{what} did not start within {seconds} s: {said or 'it ended'}")


class Network:
    """The switch of one lab. Its hosts share one subnet, 10.9.0.0/24; .1 is the gateway."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []
        self.where: dict[str, str] = {}
        """Which primary address each service address leads to, as EC2's records say."""
        self._holder = self._start(["unshare", "-n", "sleep", "infinity"])
        self._wait_for_namespace()
        self.ip(
            f"link add {BRIDGE} address {ROUTER} type bridge mcast_snooping 0",
            f"link set {BRIDGE} up",
            f"addr add {GATEWAY}/{PREFIX} dev {BRIDGE}",
            "link set lo up",
        )

    @property
    def holder(self) -> int:
        """The process whose network namespace is the switch."""
        return self._holder.pid

    def ip(self, *lines: str) -> None:
        """Run lines of `ip -batch` in the switch."""
        bounded.run(
            ["nsenter", "-t", str(self.holder), "-n", "ip", "-batch", "-"], text="\n".join(lines) + "\n"
        )

    def join(self, port: str, init: int, address: str) -> None:
        """Give a host its eth0, with its address, joined to the switch as `port`."""
        self.ip(
            f"link add {port} type veth peer name eth0 netns {init}", f"link set {port} master {BRIDGE} up"
        )
        bounded.run(
            ["nsenter", "-t", str(init), "-n", "ip", "-batch", "-"],
            text=f"link set lo up\nlink set eth0 address {hardware(address)}\n"
            f"addr add {address}/{PREFIX} dev eth0\naddr add 169.254.169.254/32 dev lo\n"
            f"link set eth0 up\n",
        )

    def leave(self, port: str) -> None:
        """Delete a host's interface at once: with the host's end, long before its namespace."""
        bounded.run(["nsenter", "-t", str(self.holder), "-n", "ip", "link", "del", port], check=False)

    def cut(self, port: str) -> None:
        """Take a host off the switch; it notices nothing but silence."""
        self.ip(f"link set {port} nomaster")

    def heal(self, port: str) -> None:
        """Put it back."""
        self.ip(f"link set {port} master {BRIDGE}")

    def neighbours(self, own: str, addresses: Sequence[str]) -> str:
        """`ip -batch` lines: where a host finds the others and the service addresses.

        Permanent, so that no ARP answer, true or gratuitous, changes what EC2's records say.
        """
        peers = {address: address for address in addresses if address != own}
        places = {**peers, **self.where}
        return "".join(
            f"neigh replace {address} lladdr {hardware(at) if at else NOWHERE} nud permanent dev eth0\n"
            for address, at in places.items()
        )

    def gateway(self, endpoint: str) -> str:
        """Let hosts reach this URL of the machine; the URL under which they do."""
        url = urlsplit(endpoint)
        port = url.port or 80
        ready, said = os.pipe()
        self._start(
            [
                sys.executable,
                "-IS",
                str(INSIDE / "gateway.py"),
                str(self.holder),
                GATEWAY,
                str(port),
                url.hostname or "127.0.0.1",
                str(port),
                str(said),
            ],
            pass_fds=(said,),
        )
        os.close(said)
        wait_up(ready, f"the way to {endpoint}")
        return f"http://{GATEWAY}:{port}"

    def _start(self, argv: Sequence[str], pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = bounded.start(argv, err=log, env=self._environment, pass_fds=pass_fds)
        self._processes.append(process)
        return process

    def _wait_for_namespace(self) -> None:
        own = kernel.namespace(os.getpid(), "net")
        wait_until(lambda: kernel.namespace(self.holder, "net") not in ("", own), "the switch's namespace")

    def close(self) -> None:
        """End the switch's processes; the namespace goes with them."""
        for process in reversed(self._processes):
            bounded.end(process)


def wait_until(holds: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Look again and again until it holds. Raises bounded.Stuck past the deadline."""
    until, pause = time.monotonic() + seconds, 0.005
    while not holds():
        if time.monotonic() > until:
            raise bounded.Stuck(f"{what} did not come about within {seconds} s")
        time.sleep(pause)
        # Looking reads all of /proc: on a busy machine it must not keep busy what it waits for.
        pause = min(pause * 1.5, 0.05)


def addresses(init: int) -> dict[str, tuple[str, ...]]:
    """IPv4 addresses on each interface of a host, read in its namespace."""
    done = bounded.run(["nsenter", "-t", str(init), "-n", "ip", "-j", "-4", "addr"], check=False)
    links = json.loads(done.out) if done.code == 0 and done.out.strip() else []
    return {link["ifname"]: tuple(info["local"] for info in link["addr_info"]) for link in links}
