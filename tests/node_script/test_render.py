"""Every rendering of keepalived.conf passes keepalived's own test, and says what it must."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_hook import config, render

HOSTS = {
    "i-0aaaaaaaaaaaaaaaa": "10.9.0.11",
    "i-0bbbbbbbbbbbbbbbb": "10.9.0.12",
    "i-0cccccccccccccccc": "10.9.0.13",
}
DEFINITION: dict[str, Any] = {
    "version": 1,
    "name": "orders",
    "nodes": [{"id": node} for node in HOSTS],
    "volumes": [{"id": "vol-0123456789abcdef0", "mount": "/srv/orders", "filesystem": "ext4"}],
    "addresses": [{"address": "10.9.0.100", "interface": "v0", "prefix": 24}],
    "units": ["ledger.service"],
}
BY_TAG = {**DEFINITION, "nodes": {"tag": "baton:cluster", "value": "orders"}}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("plain", {}),
    ("preempt", {"keepalived": {"preempt": True}}),
    ("quick", {"keepalived": {"advert_seconds": 0.1, "router_id": 7}}),
    ("version 2", {"keepalived": {"advert_seconds": 2, "vrrp_version": 2}}),
    (
        "two interfaces",
        {"addresses": [*DEFINITION["addresses"], {"address": "10.8.0.100", "interface": "v1", "prefix": 24}]},
    ),
    ("priorities", {"nodes": [{"id": n, "priority": 100 + i} for i, n in enumerate(HOSTS)]}),
    ("tag", {"nodes": BY_TAG["nodes"]}),
]


def blocks(text: str) -> str:
    """Without comments, on one line."""
    return " ".join(word for line in text.splitlines() for word in line.partition("#")[0].split())


@pytest.mark.skipif(not shutil.which("keepalived") or not shutil.which("unshare"), reason="needs keepalived")
@pytest.mark.parametrize(("name", "change"), CASES)
def test_keepalived_takes_it(tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    """`--config-test` exits 0 and complains about nothing, on each node."""
    for node in HOSTS:
        path = tmp_path / f"{node}.conf"
        path.write_text(render.keepalived_conf({**DEFINITION, **change}, node, HOSTS, stage="prod"))
        links = "ip link add v0 type veth peer name v1; ip address add 10.9.0.11/24 dev v0"
        done = subprocess.run(
            ["unshare", "-rn", "sh", "-c", f"{links}; exec keepalived --config-test -f {path}"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0 and not done.stderr.strip(), f"{name}: {done.stderr}\n{path.read_text()}"


def test_peers_are_the_others_and_priorities_differ() -> None:
    """What is most often wrong by hand."""
    seen = set()
    for node, address in HOSTS.items():
        text = blocks(render.keepalived_conf(DEFINITION, node, HOSTS, stage="prod"))
        assert f"unicast_src_ip {address} " in text
        peers = text.partition("unicast_peer { ")[2].partition(" }")[0].split()
        assert sorted(peers) == sorted(set(HOSTS.values()) - {address})
        seen.add(text.partition(" priority ")[2].split()[0])
        for wanted in (
            "state BACKUP",
            "nopreempt",
            "check_unicast_src",
            "enable_script_security",
            "advert_int 1 ",
            "script_user root",
            "vrrp_version 3",
            "vrrp_notify_fifo /run/baton/vrrp.fifo",
            "weight 0",
            "track_file { baton_hold }",
        ):
            assert wanted in text, wanted
        assert "fifo_script" not in text
    assert seen == {"254", "253", "252"}


@pytest.mark.parametrize(
    ("change", "hosts", "says"),
    [
        ({"keepalived": {"advert_seconds": 0.5, "vrrp_version": 2}}, HOSTS, "whole seconds"),
        ({"keepalived": {"advert_seconds": 0.125}}, HOSTS, "steps of 0.01"),
        ({"nodes": [{"id": n, "priority": 100} for n in HOSTS]}, HOSTS, "same priority"),
        ({"addresses": []}, HOSTS, "no service address"),
        ({}, {"i-0aaaaaaaaaaaaaaaa": "10.9.0.11"}, "address is not known"),
        ({"nodes": [{"id": "i-0aaaaaaaaaaaaaaaa"}]}, HOSTS, "no peer"),
    ],
)
def test_what_cannot_work_is_not_rendered(change: dict[str, Any], hosts: dict[str, str], says: str) -> None:
    """The reason is a sentence."""
    with pytest.raises(render.CannotRender, match=says):
        render.keepalived_conf({**DEFINITION, **change}, "i-0aaaaaaaaaaaaaaaa", hosts, stage="p")


@given(st.lists(st.integers(0, 15), min_size=2, max_size=16, unique=True))
def test_exactly_one_highest_and_neighbours(numbers: list[int]) -> None:
    """By list or by tag, the priorities are neighbouring and agree on every node."""
    nodes = [f"i-{number:08x}" for number in numbers]
    by_list = render.members({"nodes": [{"id": node} for node in nodes]})
    by_tag = render.members({"nodes": {"tag": "a", "value": "b"}}, nodes)
    for found in (by_list, by_tag):
        assert sorted(found.values()) == list(range(255 - len(nodes), 255))


def test_node_json_is_what_the_node_reads() -> None:
    """The loader takes it, and finds in it what the definition said."""
    raw = render.node_json(DEFINITION, "i-0bbbbbbbbbbbbbbbb", stage="prod", region="eu-central-1")
    read = config.parse(raw)
    assert (read.cluster, read.priority, read.units) == ("orders", 253, ("ledger.service",))
    assert read.volumes[0].mount == "/srv/orders" and read.vrrp_instance == render.instance("orders")
