"""The node script beside a real keepalived, on a configuration that was rendered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from node_hook import render
from tests.lab_node import rig
from tests.lab_node.rig import BOOT, Node, wait_for

ME, PEER = "i-0123456789abcdef0", "i-0bbbbbbbbbbbbbbbb"
ADDRESS = {"address": "10.9.0.100", "interface": "e0", "prefix": 24}
DEFINITION: dict[str, Any] = {
    "name": "orders",
    "nodes": [{"id": ME}, {"id": PEER}],
    "addresses": [ADDRESS],
    "keepalived": {"advert_seconds": 0.1},
}


@pytest.fixture
def master() -> Iterator[Node]:
    """A node whose keepalived is MASTER, its peer being away."""
    with rig.node() as node:
        node.config.update(addresses=[ADDRESS], vrrp_instance="baton-orders")
        node.config["paths"]["keepalived_json"] = f"{node.home}/run/keepalived.json"
        node.sh(
            "ip link add e0 type veth peer name e1; ip address add 10.9.0.11/24 dev e0;"
            "ip link set lo up; ip link set e0 up; ip link set e1 up"
        )
        hosts = {ME: "10.9.0.11", PEER: "10.9.0.12"}
        conf = render.keepalived_conf(DEFINITION, ME, hosts, stage="test", run=f"{node.home}/run")
        (node.home / "keepalived.conf").write_text(conf)
        node.sh(f"mkfifo {node.home}/run/vrrp.fifo")
        node.spawn(
            f"cd {node.home}/run; exec 9<>vrrp.fifo; export TMPDIR={node.home}/run;"
            " exec keepalived -n -P -f ../keepalived.conf -p $TMPDIR/keepalived.pid -r $TMPDIR/vrrp.pid"
        )
        wait_for(lambda: "10.9.0.100" in node.sh("ip -o address show"), 10)
        yield node


def wait_state(node: Node, state: str) -> None:
    wait_for(lambda: node.status()["status"]["vrrp"] == state, 10)


def test_a_challenge_asks_keepalived_itself(master: Node) -> None:
    """MASTER: nothing is released, not even the epoch is raised. Not MASTER: released."""
    master.disk()
    master.acquire(1)
    ran = master.release(2, "--unless-master")
    assert ran.gist == ("still-master", "") and ran.code == 6
    assert master.mounted() and master.memory()["highest"] == 1
    assert ran.answer["word"]["state"] == "MASTER" and ran.answer["word"]["serving"] == 1
    (master.home / "run/hold").write_text("1\n")
    wait_state(master, "FAULT")
    ran = master.release(2, "--unless-master")
    assert ran.gist == ("released", "") and not master.mounted()


def test_an_acquire_that_fails_gives_up_mastership(master: Node) -> None:
    """The track file makes keepalived say FAULT; a newer release takes it back."""
    assert master.acquire(1, seconds=4).gist == ("failed", "no-device")
    wait_state(master, "FAULT")
    assert master.release(2).gist == ("released", "")
    wait_state(master, "MASTER")


def test_the_address_of_a_keepalived_that_lives_is_its_own(master: Node) -> None:
    """A release takes the volumes; the address is keepalived's, for as long as it runs."""
    ran = master.release(1)
    # keepalived would put it back at once: the answer tells whether it was touched.
    assert ran.gist == ("released", "") and "deleted" not in ran.answer["text"]
    assert "10.9.0.100" in master.sh("ip -o address show")


def test_handover_refuses_without_a_peer_that_is_ready(master: Node) -> None:
    """Unless told `--anyway`; and never to itself."""
    for words in ((), ("--ready", ME)):
        ran = master.node("handover", "--cluster", "orders", *words)
        assert ran.gist == ("refused", "") and ran.code == 6
    assert not master.held().startswith("1")


def test_handover_is_over_when_a_newer_epoch_arrives(master: Node) -> None:
    """FAULT meanwhile; a command of a newer epoch says that a peer took over; then the hold is gone."""
    master.disk()
    master.acquire(1)
    begun = master.begin("handover", "--cluster", "orders", "--ready", PEER)
    wait_state(master, "FAULT")
    assert master.release(2).gist == ("released", "")
    ran = master.end(*begun, timeout=20)
    assert ran.gist == ("released", "") and "epoch 2" in ran.answer["text"]
    assert master.held() == "0\n"


def test_handover_clears_itself_at_its_deadline(master: Node) -> None:
    """Nobody takes over: said so, and this node may be master again."""
    words = ("--cluster", "orders", "--anyway", "--deadline", f"{time.time() + 1:.1f}")
    ran = master.node("handover", *words)
    assert ran.gist == ("failed", "past-deadline") and master.held() == "0\n"
    wait_state(master, "MASTER")
    master.node("arrive")
    assert BOOT == master.status()["status"]["boot"]


def test_an_order_to_hand_over_that_comes_late_takes_no_mastership(master: Node) -> None:
    """An agent runs the orchestrator's command again, after its time or in another boot."""
    words = ("--cluster", "orders", "--ready", PEER, "--epoch", "1", "--boot")
    for boot, seconds, code in ((BOOT, -1, "past-deadline"), ("x", 9, "other-boot")):
        ran = master.node("handover", *words, boot, "--deadline", f"{time.time() + seconds:.1f}")
        assert ran.gist == ("refused", code) and ran.code == 6
    assert not master.held().startswith("1")
    wait_state(master, "MASTER")


def test_a_hold_that_a_killed_job_left_is_lifted(master: Node) -> None:
    """The vigil takes back what was for a limited time."""
    (master.home / "run/hold").write_text(f"1\nhandover: given up by hand (until {time.time() + 1:.0f})\n")
    master.write_config()
    master.spawn(f"exec {rig.PYTHON} -IS {rig.REPOSITORY}/node_hook/vigil.py")
    wait_for(lambda: master.held() == "0\n", 8)


def test_a_hold_for_a_health_command_that_is_no_more_is_lifted(master: Node) -> None:
    """The command was taken out of the configuration while it held the node: nobody else would clear it."""
    (master.home / "run/hold").write_text("1\nhealth: failed 3 times in a row\n")
    master.write_config()
    master.spawn(f"exec {rig.PYTHON} -IS {rig.REPOSITORY}/node_hook/vigil.py")
    wait_for(lambda: master.held() == "0\n", 8)


def test_the_vigil_holds_a_node_whose_service_fails_while_it_serves(master: Node) -> None:
    """Failures in a row on a settled owner lead to FAULT; before it serves they do not count."""
    master.disk()
    master.config["health"] = {
        "command": ["/usr/bin/test", "-e", f"{master.home}/well"],
        "every_seconds": 0.1,
        "failures": 3,
        "timeout_seconds": 2,
    }
    master.write_config()
    master.spawn(f"exec {rig.PYTHON} -IS {rig.REPOSITORY}/node_hook/vigil.py")
    time.sleep(0.7)
    assert not master.held().startswith("1")
    (master.home / "well").write_text("")
    assert master.acquire(1).gist == ("acquired", "")
    (master.home / "well").unlink()
    wait_for(lambda: master.held().startswith("1\nhealth: "), 10)
    wait_state(master, "FAULT")
    assert master.mounted()


def test_a_shutdown_releases_and_says_stop(master: Node) -> None:
    """Everything known is released, no Acquire of this epoch is executed any more, FAULT meanwhile."""
    master.disk()
    master.acquire(3)
    ran = master.node("shutdown")
    assert ran.gist == ("released", "") and not master.mounted()
    word = ran.answer["word"]
    assert (word["state"], word["released"], word["serving"], word["boot"]) == ("STOP", 3, None, BOOT)
    wait_state(master, "FAULT")
    assert master.acquire(3).gist == ("refused", "older-epoch")
    assert master.node("arrive").code == 0
    wait_state(master, "MASTER")


def test_status_changes_nothing(master: Node) -> None:
    """Not a file but the spool of words, whatever the state of the node."""
    master.disk()
    master.acquire(1)

    def everything() -> dict[str, tuple[int, int]]:
        found = {}
        for path in master.home.rglob("*"):
            name = str(path.relative_to(master.home))
            if (
                "spool" not in name
                and "tmp" not in name
                and not name.startswith(("srv", "run/ask", "run/keepalived.json", "units/", "vol-"))
            ):
                if path.is_file():
                    found[name] = (path.stat().st_mtime_ns, path.stat().st_size)
        return found

    master.status()
    master.write_config()
    before = everything()
    answer = master.node("status", "--cluster", "orders", "--epoch", "0").answer
    ignored = {"etc/node.json"}
    assert {k: v for k, v in everything().items() if k not in ignored} == {
        k: v for k, v in before.items() if k not in ignored
    }
    status = answer["status"]
    assert (status["serving"], status["vrrp"], status["boot"]) == (1, "MASTER", BOOT)
    assert status["addresses"] == {"10.9.0.100": "e0"} and status["versions"]["keepalived"]
    assert answer["word"]["config"] == status["config"]
