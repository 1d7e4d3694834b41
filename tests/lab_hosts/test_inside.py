"""What programs find in a host: metadata, systemctl, the SSM agent."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from lab.cloud.machinery import AgentUnreachable, Delivery
from lab.hosts.hosts import Host, Hosts

from .conftest import SERVICE_ADDRESS, eventually

METADATA = """import sys, urllib.request as r
at = 'http://169.254.169.254/latest/'
ask = r.Request(at + 'api/token', method='PUT', headers={'X-aws-ec2-metadata-token-ttl-seconds': '60'})
token = r.urlopen(ask, timeout=2).read().decode()
get = r.Request(at + sys.argv[1], headers={'X-aws-ec2-metadata-token': token})
print(r.urlopen(get, timeout=2).read().decode())"""

UNIT = """[Service]
Type=notify
ExecStart=/usr/local/bin/ledger
ExecStop=/bin/sh -c 'echo stopping $MAINPID >>/var/lib/baton/stops'
TimeoutStopSec=500ms
KillMode=mixed
User=nobody
"""
LEDGER = """#!/usr/bin/python3
import os, signal, socket, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "1000"])
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


class Reports:
    """What the agent said of one command."""

    def __init__(self) -> None:
        self.all: list[tuple[str, int, str, str]] = []
        self._ended = threading.Event()

    def __call__(self, status: str, code: int, out: str, err: str) -> None:
        self.all.append((status, code, out, err))
        if status != "InProgress":
            self._ended.set()

    def end(self, seconds: float = 15.0) -> tuple[str, int, str, str]:
        """The final report."""
        assert self._ended.wait(seconds), self.all
        return self.all[-1]


def delivery(script: list[str], reports: Reports, **inputs: Any) -> Delivery:
    """A document with one environment parameter and one that is pasted."""
    document = {
        "schemaVersion": "2.2",
        "parameters": {
            "epoch": {"type": "String", "interpolationType": "ENV_VAR"},
            "pasted": {"type": "String", "default": "by default"},
        },
        "mainSteps": [
            {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": script, **inputs}}
        ],
    }
    return Delivery("c-1", "baton-lab", document, {"epoch": ["7; exit 3"]}, reports)


def metadata(host: Host, path: str) -> str:
    """What IMDSv2 answers in the host."""
    return host.run(["python3", "-c", METADATA, path]).out.strip()


def test_metadata_names_the_instance_and_follows_ec2(hosts: Hosts, a: Host) -> None:
    """IMDSv2: who it is, its credentials, and the addresses of its interface."""
    assert metadata(a, "meta-data/instance-id") == "i-0a"
    role = metadata(a, "meta-data/iam/security-credentials/")
    keys = json.loads(metadata(a, f"meta-data/iam/security-credentials/{role}"))
    assert keys["AccessKeyId"] == "AKIAa"
    mac = metadata(a, "meta-data/network/interfaces/macs/").rstrip("/")
    hosts.moved(SERVICE_ADDRESS, "eni-0a", "i-0a")
    path = f"meta-data/network/interfaces/macs/{mac}/local-ipv4s"
    assert metadata(a, path).split() == ["10.9.0.11", SERVICE_ADDRESS]
    hosts.moved(SERVICE_ADDRESS, None, None)
    assert metadata(a, path).split() == ["10.9.0.11"]


def test_no_token_no_metadata(hosts: Hosts, a: Host) -> None:
    """Version 1 is refused."""
    ask = "import urllib.request as r; r.urlopen('http://169.254.169.254/latest/meta-data/', timeout=2)"
    assert "401" in a.run(["python3", "-c", ask], check=False).err


def test_systemctl_starts_and_stops_real_processes(hosts: Hosts, a: Host) -> None:
    """Notify, ExecStop, the stop time, KillMode and exit codes as systemd has them."""
    a.run(["sh", "-c", "cat >/etc/systemd/system/ledger.service"], text=UNIT)
    a.run(["sh", "-c", "cat >/usr/local/bin/ledger; chmod 755 /usr/local/bin/ledger"], text=LEDGER)
    assert a.systemctl("is-active", "ledger", check=False).out == "inactive\n"
    assert a.systemctl("is-active", "ledger", check=False).code == 3
    assert a.systemctl("start", "nothing", check=False).code == 5
    a.systemctl("start", "ledger.service")
    pid = a.systemctl("show", "-p", "MainPID", "--value", "ledger").out.strip()
    assert "ledger" in a.run(["cat", f"/proc/{pid}/cmdline"]).out
    a.systemctl("stop", "ledger.service")
    assert a.run(["cat", "/var/lib/baton/stops"]).out == f"stopping {pid}\n"
    shown = a.systemctl("show", "ledger", "--property=ActiveState,Result").out.split()
    assert shown == ["ActiveState=failed", "Result=timeout"]
    assert not [each for each in a.processes() if "ledger" in each.command or each.name == "sleep"]
    assert a.systemctl("stop", "ledger.service").code == 0


RESTARTED = """[Service]
ExecStart=/bin/sleep 88
Restart=on-failure
RestartSec=1
"""


def test_a_service_that_dies_runs_again_once(hosts: Hosts, a: Host) -> None:
    """After RestartSec; started by hand meanwhile, it runs once and not twice."""
    a.run(["sh", "-c", "cat >/etc/systemd/system/again.service"], text=RESTARTED)
    a.systemctl("start", "again")
    first = a.systemctl("show", "-p", "MainPID", "--value", "again").out
    a.systemctl("kill", "-s", "KILL", "again")
    assert eventually(lambda: a.systemctl("is-active", "again", check=False).out == "activating\n")
    a.systemctl("start", "again")
    second = a.systemctl("show", "-p", "MainPID", "--value", "again").out
    assert first != second
    a.run(["sleep", "1.5"])
    assert [each.command for each in a.processes()].count("/bin/sleep 88") == 1
    a.systemctl("kill", "-s", "KILL", "again")
    assert eventually(lambda: a.systemctl("show", "-p", "NRestarts", "--value", "again").out == "1\n")
    a.systemctl("stop", "again")
    assert a.systemctl("is-active", "again", check=False).out == "inactive\n"


def test_the_agent_runs_a_document_and_pastes_no_environment_parameter(hosts: Hosts, a: Host) -> None:
    """The value arrives as a value, whatever is in it."""
    reports = Reports()
    script = ['echo "$SSM_epoch"', "echo '{{ epoch }}' {{ pasted }}", "hostname", "echo oops >&2", "exit 6"]
    hosts.deliver("i-0a", delivery(script, reports))
    assert reports.end() == ("Failed", 6, "7; exit 3\n{{ epoch }} by default\na\n", "oops\n")
    assert reports.all[0][0] == "InProgress"


def test_past_its_time_a_command_is_killed(hosts: Hosts, a: Host) -> None:
    """With its children, and it reads as timed out."""
    reports = Reports()
    hosts.deliver("i-0a", delivery(["sleep 77"], reports, timeoutSeconds="1"))
    assert reports.end()[:2] == ("TimedOut", 137)
    assert eventually(lambda: all(each.command != "sleep 77" for each in a.processes()))


def test_an_agent_that_is_down_takes_nothing_and_one_that_hangs_takes_it_later(hosts: Hosts, a: Host) -> None:
    """Down: Pending, says the seam. Hung: it is handed over and nothing happens until it goes on."""
    reports = Reports()
    a.agent_down()
    assert a.systemctl("is-active", "amazon-ssm-agent", check=False).out == "inactive\n"
    assert eventually(lambda: not a.mailbox.connected)
    with pytest.raises(AgentUnreachable):
        hosts.deliver("i-0a", delivery(["true"], reports))
    a.agent_up()
    assert eventually(lambda: a.mailbox.connected)
    a.agent_hang()
    hosts.deliver("i-0a", delivery(["true"], reports))
    assert not eventually(lambda: bool(reports.all), 0.3)
    a.agent_up()
    assert reports.end()[0] == "Success"


def test_a_restarted_agent_runs_a_command_again(hosts: Hosts, a: Host) -> None:
    """So does one that was under way when the host lost power."""
    reports = Reports()
    script = ["echo run >>/var/lib/baton/runs", "test $(wc -l </var/lib/baton/runs) -gt 2 || sleep 600"]
    assert eventually(lambda: a.mailbox.connected)
    hosts.deliver("i-0a", delivery(script, reports))
    runs = a.directory / "disk/var/lib/baton/runs"
    assert eventually(lambda: runs.exists() and runs.read_text() == "run\n")
    a.agent_restart()
    assert eventually(lambda: runs.read_text() == "run\nrun\n")
    a.power_off()
    a.boot()
    assert reports.end()[0] == "Success"
    assert runs.read_text() == "run\nrun\nrun\n"


def test_a_command_can_come_twice(hosts: Hosts, a: Host) -> None:
    """As after a lost acknowledgement."""
    reports = Reports()
    assert eventually(lambda: a.mailbox.connected)
    a.mailbox.twice = 1
    hosts.deliver("i-0a", delivery(["echo x >>/var/lib/baton/twice"], reports))
    twice = a.directory / "disk/var/lib/baton/twice"
    assert eventually(lambda: twice.exists() and twice.read_text() == "x\nx\n")
