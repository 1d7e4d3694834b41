"""User data run whole, as EC2 runs it, on hosts that know nothing of Baton; and taken away again.

What cannot be here is the mirror of a distribution: `apt-get` and `dnf` only write down what they
were asked for. The metadata service, the web server with the package, systemctl and keepalived are
those of the lab's hosts.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.node_user_data import first_boot, node_package
from lab.hosts.hosts import Host, Hosts, Spec
from tests.lab_node.rig import REPOSITORY, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

HOOK = REPOSITORY / "node_hook"
APT, DNF, NEW = (f"i-0{letter * 16}" for letter in "abc")
DEFINITION: dict[str, Any] = {
    "version": 1,
    "name": "orders",
    "nodes": [{"id": APT}, {"id": DNF}],
    "volumes": [],
    "addresses": [{"address": "10.9.0.100", "interface": "eth0", "prefix": 24}],
}
PEERS = {APT: "10.9.0.11", DNF: "10.9.0.12"}
OURS = ("baton-publish", "baton-vigil", "baton-node")
SERVICES = (*OURS, "keepalived")
WHERE = "/etc /opt /root /run /usr/local /usr/lib/systemd /var/lib/baton /var/log"
LEFT = {"/etc/keepalived/keepalived.conf", "/var/log/baton-first-boot.log", "/root/user-data"}
"""What an uninstall leaves: what is somebody else's, and what this test put there."""


@dataclass
class Pair:
    """The hosts, and where they find the package."""

    hosts: Hosts
    url: str
    digest: str

    def script(self, digest: str = "", **change: Any) -> str:
        """The user data."""
        package = (self.url, digest or self.digest)
        return first_boot({**DEFINITION, **change}, PEERS, ("test", "eu-central-1"), package)


@contextmanager
def web_server(content: bytes) -> Iterator[str]:
    """Serves one file; its URL on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def spec(instance: str, name: str, last: int, manager: str) -> Spec:
    """A fresh instance with an SSM agent, and a package manager: locked at first, it installs nothing."""
    log = f"/var/log/{manager}"
    stub = f"#!/bin/sh\n[ -e {log} ] || locked=yes\necho $* >>{log}\n[ -z $locked ]\n"
    return Spec(
        instance=instance,
        name=name,
        address=f"10.9.0.{last}",
        files={f"/usr/local/bin/{manager}": stub},
        units=("amazon-ssm-agent.service",),
    )


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Three hosts, up; nothing of Baton on them."""
    content = node_package()
    with web_server(content) as server, Hosts.open(Path(tempfile.gettempdir()) / "lab") as hosts:
        url = hosts.network.gateway(server) + "/baton.tar.xz?key='$(reboot)'&b=1"
        hosts.add(spec(APT, "a", 11, "apt-get"))
        hosts.add(spec(DNF, "b", 12, "dnf"))
        hosts.add(spec(NEW, "c", 13, "apt-get"))
        hosts.boot()
        for host in hosts:
            # The lab keeps these apart from the root; on an instance they are directories like others.
            host.run(["umount", "/opt/baton", "/etc/baton", "/var/lib/baton"])
            host.run(["rmdir", "/opt/baton", "/etc/baton", "/var/lib/baton"])
        # A distribution that has dnf has no apt-get.
        hosts[DNF].run(["mount", "--bind", "/dev/null", "/usr/bin/apt-get"])
        yield Pair(hosts, url, hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="module")
def before(pair: Pair) -> dict[str, set[str]]:
    """The files of each host before its first boot script ran."""
    return {host.instance: files(host) for host in pair.hosts}


@pytest.fixture(scope="module")
def installed(pair: Pair, before: dict[str, set[str]]) -> Pair:
    """Both nodes after their first boot."""
    for instance in PEERS:
        assert boot(pair.hosts[instance], pair.script()) == 0, log(pair.hosts[instance])
    return pair


def boot(host: Host, script: str) -> int:
    """Run user data as cloud-init does: a file, executed by root."""
    host.run(["sh", "-c", "cat >/root/user-data; chmod 700 /root/user-data"], text=script)
    return host.run(["/root/user-data"], 120, check=False).code


def log(host: Host) -> str:
    return host.file("/var/log/baton-first-boot.log").read_text()


def files(host: Host) -> set[str]:
    """Every file, link and FIFO where something could be left behind, but what systemctl here notes."""
    found = host.run(["sh", "-c", f"find {WHERE} ! -type d 2>/dev/null; true"]).out.split("\n")
    return {path for path in found if "/lab/" not in path}


def status(host: Host) -> dict[str, Any]:
    """What the node says of itself."""
    done = host.run(["/opt/baton/node.py", "status", "--cluster", "orders", "--deadline", "1"])
    found: dict[str, Any] = json.loads(done.out.splitlines()[-1])["status"]
    return found


def main_pids(host: Host) -> list[str]:
    """The main process of each service."""
    return host.systemctl("show", "-p", "MainPID", "--value", *SERVICES).out.split()


def test_another_package_is_not_run(pair: Pair, before: dict[str, set[str]]) -> None:
    """Whoever can put a file where nodes fetch theirs cannot run it on them."""
    host = pair.hosts[NEW]
    assert boot(host, pair.script("0" * 64)) != 0
    assert "FAILED" in log(host)
    assert {path for path in files(host) - before[NEW] if "baton" in path} <= LEFT


def test_both_nodes_elect_one_of_them(installed: Pair) -> None:
    """From nothing to a cluster: every service runs, and keepalived has one master."""
    hosts = [installed.hosts[instance] for instance in PEERS]
    for host in hosts:
        assert host.systemctl("is-active", *SERVICES, check=False).out.split() == ["active"] * 4, log(host)
        assert host.systemctl("is-enabled", *SERVICES).out.split() == ["enabled"] * 4
    wait_for(lambda: sorted(status(host)["vrrp"] for host in hosts) == ["BACKUP", "MASTER"], 30)
    for host in hosts:
        wait_for(lambda host=host: view(host)["state"] == status(host)["vrrp"], 30)  # type: ignore[misc]
        assert view(host)["word"]["node"] == host.instance


def view(host: Host) -> dict[str, Any]:
    """What the publisher knows."""
    found: dict[str, Any] = json.loads(host.file("/run/baton/state.json").read_text())
    return found


def test_what_it_needs_is_asked_of_either_package_manager(installed: Pair) -> None:
    """By the names that each of them knows."""
    apt = installed.hosts[APT].file("/var/log/apt-get").read_text()
    dnf = installed.hosts[DNF].file("/var/log/dnf").read_text()
    for name in ("keepalived", "e2fsprogs", "xfsprogs", "curl"):
        assert name in apt.split() and name in dnf.split()
    assert "xz-utils" in apt.split() and "xz" in dnf.split()
    assert len(apt.splitlines()) >= 3 and len(dnf.splitlines()) >= 2, "locked, it is asked again"


def test_everything_is_roots(installed: Pair) -> None:
    """Nobody else may write what runs as root."""
    odd = "find /opt/baton /etc/baton /var/lib/baton /etc/systemd/system/baton* /etc/keepalived"
    host = installed.hosts[APT]
    assert host.run(["sh", "-c", f"{odd} ! -type l \\( ! -user root -o -perm /022 \\)"]).out == ""


def test_run_again_it_restarts_nothing(installed: Pair) -> None:
    """As when somebody runs the script by hand to bring a node up to date."""
    host = installed.hosts[APT]
    pids = main_pids(host)
    assert boot(host, installed.script()) == 0, log(host)
    assert "changed: no" in log(host).splitlines()[-1]
    assert main_pids(host) == pids


def test_an_update_does_not_interrupt_what_is_served(installed: Pair) -> None:
    """Publisher and vigil are started anew; stopping the third unit would mean to release."""
    host = installed.hosts[APT]
    command(host, "acquire", 1)
    before = dict(zip(SERVICES, main_pids(host), strict=True))
    invocation = host.systemctl("show", "-p", "InvocationID", "--value", "baton-node").out
    newer = f"cp -r {HOOK} /root/newer; echo '# newer' >>/root/newer/view.py; sh /root/newer/install.sh"
    host.run(["sh", "-c", newer], 60)
    after = dict(zip(SERVICES, main_pids(host), strict=True))
    assert {name for name in SERVICES if after[name] != before[name]} == {"baton-publish", "baton-vigil"}
    assert host.systemctl("show", "-p", "InvocationID", "--value", "baton-node").out == invocation
    assert status(host)["serving"] == 1
    command(host, "release", 2)


def test_a_new_configuration_reaches_a_keepalived_that_runs(installed: Pair) -> None:
    """The definition changed, the script runs again: reloaded, not restarted."""
    host = installed.hosts[APT]
    assert advert_seconds(host) == 1
    before = main_pids(host)[-1]
    assert boot(host, installed.script(keepalived={"advert_seconds": 2})) == 0, log(host)
    wait_for(lambda: advert_seconds(host) == 2, 10)
    assert main_pids(host)[-1] == before


def advert_seconds(host: Host) -> float:
    """By keepalived's own word, which it writes when it is asked for its state."""
    assert status(host)["vrrp"]
    [instance] = json.loads(host.file("/tmp/keepalived.json").read_text())
    return float(instance["data"]["adver_int"])


def test_uninstall_is_refused_while_it_serves_and_leaves_nothing(
    installed: Pair, before: dict[str, set[str]]
) -> None:
    """No file, no process, no unit; what is not ours stays."""
    host = installed.hosts[DNF]
    command(host, "acquire", 1)
    done = host.run(["sh", "/opt/baton/install.sh", "--uninstall"], 60, check=False)
    assert done.code != 0 and "this node serves" in done.err
    assert host.file("/opt/baton/node.py").exists()
    command(host, "release", 2)
    host.run(["sh", "/opt/baton/install.sh", "--uninstall"], 60)
    left = {path for path in files(host) - before[DNF] if "baton" in path}
    assert left <= LEFT
    assert not [path for path in ("/opt", "/etc", "/var/lib", "/run") if host.file(f"{path}/baton").exists()]
    assert host.systemctl("is-enabled", *OURS, check=False).out == ""
    assert not [each.command for each in host.processes() if "/opt/baton" in each.command]


def command(host: Host, action: str, epoch: int) -> None:
    """Do as the orchestrator would have it."""
    boot_id = host.file("/proc/sys/kernel/random/boot_id").read_text().strip()
    words = ["--epoch", str(epoch), "--boot", boot_id, "--deadline", f"{time.time() + 20:.0f}"]
    host.run(["/opt/baton/node.py", action, "--cluster", "orders", *words])
