"""prepare formats what is blank and nothing else; reset is the one way back, and is audited."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.lab_node.rig import VOLUME, Disk, Node, Ran, wait_for


def prepare(node: Node, *more: str) -> Ran:
    return node.node("prepare", "--cluster", "orders", "--volumes", VOLUME, *more)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_blank_volume_is_formatted_as_configured(node: Node, kind: str) -> None:
    """With its UUID; afterwards it can be acquired, and is not blank any more."""
    uuid = "5f0c1f3a-9b1e-4a55-9a0b-0123456789ab"
    node.config["volumes"][0].update(filesystem=kind, uuid=uuid)
    disk = node.disk(make="")
    os.truncate(disk.image, 320 << 20)
    node.sh(f"losetup -c {disk.loop}")
    assert prepare(node).gist == ("status", "")
    assert node.acquire(1).gist == ("acquired", "")
    assert node.release(2).gist == ("released", "")
    ran = prepare(node)
    assert ran.gist == ("refused", "") and "not blank" in ran.answer["text"] and ran.code == 6


def test_killed_while_it_formats(node: Node) -> None:
    """What formats ends with the script that began it: run again, nothing works beside it."""
    node.disk(make="")
    slow = node.home / "bin/mkfs.ext4"
    slow.write_text(f"#!/bin/sh\ntouch {node.home}/begun; while :; do sleep 0.02; done\n")
    slow.chmod(0o755)
    process, _, _ = node.begin("prepare", "--cluster", "orders", "--volumes", VOLUME)
    wait_for((node.home / "begun").exists, 20)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)
    wait_for(lambda: "mkfs" not in node.sh("cat /proc/[0-9]*/cmdline 2>/dev/null; true"))
    slow.unlink()
    assert prepare(node).gist == ("status", "")
    assert node.acquire(1).gist == ("acquired", "")


@pytest.mark.parametrize("what", ["ext4", "gpt", "swap"])
def test_anything_with_a_signature_is_refused(node: Node, what: str) -> None:
    """Whatever blkid recognises; and not a byte of it changes."""
    disk = node.disk(make="mkfs.ext4 -q -F" if what == "ext4" else "")
    if what == "swap":
        node.sh(f"mkswap {disk.loop}")
    if what == "gpt":
        with open(disk.loop, "r+b") as file:
            file.write(
                b"\0" * 446 + bytes.fromhex("00000000830000000008000000f00000") + b"\0" * 48 + b"\x55\xaa"
            )
    before = disk.image.read_bytes()
    assert prepare(node).gist == ("refused", "")
    assert disk.image.read_bytes() == before


def test_a_volume_that_is_not_verified_not_known_or_in_use(node: Node) -> None:
    """Each is refused before anything is written."""
    disk = node.disk(make="")
    ran = node.node("prepare", "--cluster", "orders", "--volumes", "vol-0cccccccccccccccc")
    assert ran.gist == ("failed", "configuration") and ran.code == 4
    assert prepare(node, "--partitioned").gist == ("refused", "configuration")
    node.detach(disk)
    node.attach(disk, serial="")
    assert prepare(node).gist == ("refused", "unverified")
    node.detach(disk)
    assert prepare(node).gist == ("failed", "no-device")
    assert disk.image.read_bytes() == bytes(32 << 20)


@pytest.mark.skipif(shutil.which("sfdisk") is None, reason="needs sfdisk")
def test_a_partition_if_asked(node: Node) -> None:
    """One over the whole disk, formatted; the volume is then acquired by it."""
    node.config["volumes"][0]["partition"] = 1
    disk = node.disk(make="")
    udev = threading.Thread(target=show_partition, args=(node, disk))
    udev.start()
    ran = prepare(node, "--partitioned")
    udev.join(20)
    assert ran.gist == ("status", ""), ran.answer["text"]
    assert node.acquire(1).gist == ("acquired", "")
    assert node.release(2).gist == ("released", "")


def show_partition(node: Node, disk: Disk) -> None:
    """What the kernel and udev do once there is a partition."""
    name = f"{Path(disk.loop).name}p1"
    number = Path(f"/sys/block/{Path(disk.loop).name}/{name}/dev")
    deadline = time.monotonic() + 15
    while not number.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    text = number.read_text().strip()
    os.mknod(node.home / "dev/nvme1n1p1", 0o660 | 0o060000, os.makedev(*map(int, text.split(":"))))
    home = node.home / "sys/block/nvme1n1/nvme1n1p1"
    home.mkdir()
    (home / "dev").write_text(text)


def test_a_reset_is_local_audited_and_refused_while_mounted(node: Node) -> None:
    """A memory led astray, or damaged, is set right by hand."""
    node.disk()
    assert node.acquire(900_000).gist == ("acquired", "")
    reset = ("reset", "--cluster", "orders", "--epoch", "7")
    assert node.node(*reset).gist == ("refused", "busy")
    assert node.release(900_001).gist == ("released", "")
    assert node.node(*reset).code == 0
    assert node.acquire(7).gist == ("refused", "older-epoch")
    assert node.acquire(8).gist == ("acquired", "")
    [line] = (node.home / "state/audit.log").read_text().splitlines()
    assert "reset to 7 by uid 0" in line and "900001" in line


def test_a_damaged_memory_refuses_every_command_until_it_is_reset(node: Node) -> None:
    """Old commands cannot be told from new ones: none is executed. Status says so and still answers."""
    node.disk()
    node.acquire(3)
    (node.home / "state/epoch.json").write_text('{"highest": ')
    for ran in (node.release(4), node.acquire(4)):
        assert ran.gist == ("failed", "internal") and "node.py reset" in ran.answer["text"]
    assert node.mounted()
    assert "is damaged" in node.status()["text"]


def test_a_cluster_that_is_not_ours(node: Node) -> None:
    """Refused, and the cluster of this node is named."""
    ran = node.node("release", "--cluster", "others", "--epoch", "1", "--deadline", "9999999999")
    assert ran.gist == ("refused", "unknown-cluster") and ran.code == 6
    assert "orders" in ran.answer["text"]


def test_a_configuration_that_others_may_write(node: Node) -> None:
    """Exit 4, and nothing is executed."""
    node.disk()
    node.write_config = lambda: None  # type: ignore[method-assign]
    path = node.home / "etc/node.json"
    Node.write_config(node)
    path.chmod(0o666)
    ran = node.acquire(1)
    assert (
        ran.gist == ("failed", "configuration")
        and ran.code == 4
        and "writable by others" in ran.answer["text"]
    )
    assert not node.mounted()
