"""Two hosts with real keepalived, booted once for most of these tests; and what to hold on to."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.hosts.hosts import Credentials, Host, Hosts, Spec

SERVICE_ADDRESS = "10.9.0.100"
CONFIGURATION = """
global_defs {{
  enable_script_security
  script_user root
  vrrp_version 3
}}
vrrp_instance baton-orders {{
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int 0.1
  unicast_src_ip {own}
  unicast_peer {{
    {peer}
  }}
  check_unicast_src
  virtual_ipaddress {{
    10.9.0.100/24 dev eth0
  }}
}}
"""


def base() -> Path:
    """Where the labs of this test run have their directories."""
    return Path(tempfile.gettempdir()) / "lab"


def spec(name: str, last: int, peer: int, priority: int) -> Spec:
    """A node of a pair."""
    own = f"10.9.0.{last}"
    text = CONFIGURATION.format(priority=priority, own=own, peer=f"10.9.0.{peer}")
    return Spec(
        instance=f"i-0{name}",
        name=name,
        address=own,
        interface=f"eni-0{name}",
        credentials=Credentials("AKIA" + name, "secret"),
        files={"/etc/keepalived/keepalived.conf": text},
        units=("amazon-ssm-agent.service", "keepalived.service"),
    )


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """A lab with the hosts i-0a and i-0b, up."""
    with Hosts.open(base()) as lab:
        lab.add(spec("a", 11, 12, 254))
        lab.add(spec("b", 12, 11, 253))
        lab.boot()
        yield lab
    assert lab.trouble == []


@pytest.fixture
def a(hosts: Hosts) -> Host:
    """The host i-0a, up."""
    return ready(hosts["i-0a"])


@pytest.fixture
def b(hosts: Hosts) -> Host:
    """The host i-0b, up."""
    return ready(hosts["i-0b"])


def ready(host: Host) -> Host:
    """Whatever the test before did to it."""
    host.boot()
    host.thaw()
    host.heal()
    return host


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether it comes to hold in time."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def masters(hosts: Hosts) -> set[str]:
    """Hosts whose kernel has the service address."""
    return {host.name for host in hosts if SERVICE_ADDRESS in host.addresses().get("eth0", ())}
