"""The switch, VRRP by real keepalived over it, and the address that follows EC2's records."""

from __future__ import annotations

import socket
import threading

from lab.hosts.hosts import Host, Hosts

from .conftest import SERVICE_ADDRESS, eventually, masters

ASK = "import socket,sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2); print(s.recv(9))"


def test_keepalived_elects_one_of_two(hosts: Hosts, a: Host, b: Host) -> None:
    """One of the hosts gets the address, and only one keeps it."""
    assert eventually(lambda: len(masters(hosts)) == 1)


def test_a_cut_link_makes_both_master_and_healing_ends_it(hosts: Hosts, a: Host, b: Host) -> None:
    """A host that is cut off hears nothing, so each believes the other dead."""
    a.cut()
    try:
        assert eventually(lambda: masters(hosts) == {"a", "b"})
    finally:
        a.heal()
    assert eventually(lambda: masters(hosts) == {"a"})


def test_vrrp_can_be_lost_one_way(hosts: Hosts, a: Host, b: Host) -> None:
    """B hears nothing of A any more and claims; A hears B, and is stronger: both stay master."""
    eventually(lambda: len(masters(hosts)) == 1)
    b.drop_vrrp(a)
    try:
        assert eventually(lambda: masters(hosts) == {"a", "b"})
    finally:
        b.hear_vrrp(a)
    assert eventually(lambda: masters(hosts) == {"a"})


def test_a_frozen_host_loses_the_address_and_thaws_as_it_was(hosts: Hosts, a: Host, b: Host) -> None:
    """Freezing stops every process; after the thaw all of them go on."""
    eventually(lambda: masters(hosts) == {"a"})
    a.freeze()
    assert {each.state for each in a.processes()} == {"T"}
    assert eventually(lambda: "b" in masters(hosts))
    a.thaw()
    assert eventually(lambda: masters(hosts) == {"a"})
    assert a.run(["true"]).code == 0


def test_hosts_reach_the_gateway_and_nothing_else_of_the_machine(hosts: Hosts, a: Host) -> None:
    """A port of the machine is reachable by the gateway's address; others are not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = hosts.network.gateway(f"http://127.0.0.1:{port}")
        assert url == f"http://10.9.0.1:{port}"
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"), daemon=True).start()
        assert "hello" in a.run(["python3", "-c", ASK, "10.9.0.1", str(port)]).out
        assert a.run(["python3", "-c", ASK, "127.0.0.1", str(port)], check=False).code != 0
        assert a.run(["python3", "-c", ASK, "10.9.0.1", "22"], check=False).code != 0


def test_the_service_address_is_where_ec2_says(hosts: Hosts, a: Host, b: Host) -> None:
    """Not where ARP says: B's records lead to A although keepalived announces the address from B."""
    b.cut()
    try:
        eventually(lambda: masters(hosts) == {"a", "b"})
    finally:
        b.heal()
    hosts.moved(SERVICE_ADDRESS, "eni-0a", "i-0a")
    assert "02:0a:0a:09:00:0b PERMANENT" in b.run(["ip", "neigh", "show", SERVICE_ADDRESS]).out
    hosts.moved(SERVICE_ADDRESS, None, None)
    assert "02:00:00:00:00:01 PERMANENT" in b.run(["ip", "neigh", "show", SERVICE_ADDRESS]).out


def test_a_partition_outlives_a_reboot(hosts: Hosts, a: Host, b: Host) -> None:
    """It is the network that drops VRRP, not the host that comes back."""
    assert eventually(lambda: len(masters(hosts)) == 1)
    b.drop_vrrp()
    try:
        b.reset()
        assert eventually(lambda: masters(hosts) == {"a", "b"})
    finally:
        b.hear_vrrp()
    assert eventually(lambda: masters(hosts) == {"a"})
