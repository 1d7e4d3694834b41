"""acquire: the right volume, sound, mounted, started, working; or nothing at all, and FAULT."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.lab_node.rig import BOOT, VOLUME, Node, wait_for

UUID = "5f0c1f3a-9b1e-4a55-9a0b-0123456789ab"


def test_mount_with_options_units_in_order_health_until_it_passes(node: Node) -> None:
    """All of it is done, timed and remembered; a second run changes nothing."""
    node.disk()
    node.config["units"] = ["first.service", "second.service"]
    for unit in node.config["units"]:
        (node.home / "units" / unit).write_text("sleep 60")
    (node.home / "bin/well").write_text(
        f"#!/bin/sh\necho x >> {node.home}/asked; test $(wc -l < {node.home}/asked) -ge 3\n"
    )
    (node.home / "bin/well").chmod(0o755)
    node.config["health"] = {"command": [str(node.home / "bin/well")]}
    ran = node.acquire(1)
    assert ran.gist == ("acquired", "") and ran.code == 0
    assert {"wait for device", "check", "mount", "start", "health"} <= set(ran.answer["steps"])
    assert "noatime" in node.sh(f"grep ' {node.mount} ' /proc/self/mounts")
    log = (node.home / "units/log").read_text()
    assert log.index("start first") < log.index("start second")
    assert ran.answer["word"]["serving"] == 1
    assert node.acquire(1).gist == ("acquired", "")
    assert node.memory()["serving"] == 1


def test_it_waits_for_the_device_without_a_lock(node: Node) -> None:
    """The device appears later; a status and a release are not kept waiting."""
    disk = node.disk()
    node.detach(disk)
    begun = node.begin("acquire", *words(node, 5))
    wait_for(lambda: "wait for device" in begun[2].read_text())
    assert node.status()["text"].startswith("serving nothing")
    assert node.release(5).gist == ("released", "")
    node.attach(disk, "nvme2n1")
    assert node.end(*begun, timeout=20).gist == ("acquired", "")
    assert node.mounted()


def test_a_newer_release_overtakes_an_acquire_that_waits(node: Node) -> None:
    """The older command mounts nothing any more, though its device comes."""
    disk = node.disk()
    node.detach(disk)
    begun = node.begin("acquire", *words(node, 5))
    wait_for(lambda: "wait for device" in begun[2].read_text())
    assert node.release(6).gist == ("released", "")
    node.attach(disk, "nvme2n1")
    assert node.end(*begun, timeout=20).gist == ("refused", "overtaken")
    assert not node.mounted() and not node.held().startswith("1")


@pytest.mark.parametrize("what", ["start", "health"])
def test_a_newer_release_overtakes_an_acquire_at_work(node: Node, what: str) -> None:
    """A unit that does not come up, a service that does not get well: neither keeps a release waiting."""
    node.disk()
    if what == "start":
        node.config["units"] = ["slow.service"]
        node.sh(f"sed -i 's/  start)/  start) sleep 20 ;; xstart)/' {node.home}/bin/systemctl")
    else:
        node.config["health"] = {"command": ["/bin/false"]}
    begun = node.begin("acquire", *words(node, 5, seconds=15))
    wait_for(lambda: f"baton: {what}" in begun[2].read_text())
    assert node.release(6).gist == ("released", "")
    assert node.end(*begun, timeout=20).gist == ("refused", "overtaken")
    assert not node.mounted() and node.memory()["serving"] is None


def words(node: Node, epoch: int, seconds: float = 10) -> tuple[str, ...]:
    deadline = f"{time.time() + seconds:.3f}"
    return ("--cluster", "orders", "--epoch", str(epoch), "--boot", BOOT, "--deadline", deadline)


def test_an_absurd_jump_is_refused(node: Node) -> None:
    """The largest epoch that fits a command line: nothing happens, nothing is remembered."""
    node.disk()
    for ran in (node.acquire(99_999_999_999), node.release(99_999_999_999)):
        assert ran.gist == ("refused", "absurd-epoch") and ran.code == 6
        assert "reset" in ran.answer["text"]
    assert not node.mounted() and not (node.home / "state/epoch.json").exists()


def test_refused_in_another_boot_and_past_its_deadline(node: Node) -> None:
    """A command from before a power-off, or one that lay in a queue, mounts nothing."""
    node.disk()
    assert node.acquire(1, boot="another-boot").gist == ("refused", "other-boot")
    assert node.acquire(1, seconds=-1).gist == ("refused", "past-deadline")
    assert not node.mounted() and not (node.home / "state/epoch.json").exists()


def test_what_an_earlier_boot_served_is_over(node: Node) -> None:
    """After a reboot the epoch is no longer served, though it is remembered."""
    node.disk()
    node.acquire(3)
    node.sh(f"umount {node.mount}")
    (node.home / "boot_id").write_text("99999999-2222-3333-4444-555555555555\n")
    status = node.status()
    assert status["status"]["serving"] is None and status["status"]["highest"] == 3
    assert status["word"]["serving"] is None
    assert node.acquire(3).gist == ("refused", "other-boot")


def failed(node: Node, code: str, **more: float) -> str:
    """Acquire must fail so, leave nothing mounted, and give up mastership. The text is returned."""
    ran = node.acquire(1, **more)  # type: ignore[arg-type]
    assert ran.gist == ("failed", code) and ran.code == 1, ran.answer["text"]
    assert not node.mounted() and node.held().startswith("1\nacquire: ")
    assert node.memory()["serving"] is None
    return str(ran.answer["text"])


def test_a_device_that_does_not_come(node: Node) -> None:
    """At the deadline it says so."""
    assert "has not appeared" in failed(node, "no-device", seconds=4)


@pytest.mark.parametrize("serial", ["", "vol-0bbbbbbbbbbbbbbbb"])
def test_a_link_whose_serial_cannot_be_verified(node: Node, serial: str) -> None:
    """udev says so, the kernel does not: refused, not mounted."""
    disk = node.disk()
    node.detach(disk)
    node.attach(disk, serial=serial)
    assert "not trusted" in failed(node, "unverified", seconds=4)


def test_a_serial_that_only_lsblk_knows(node: Node) -> None:
    """Some kernels show no serial beside the device; the link may have `-ns-1` appended."""
    disk = node.disk()
    node.detach(disk)
    node.attach(disk, serial="")
    [link] = (node.home / "by-id").iterdir()
    link.rename(f"{link}-ns-1")
    (node.home / "bin/lsblk").write_text(f"#!/bin/sh\necho {VOLUME.replace('-', '')}\n")
    (node.home / "bin/lsblk").chmod(0o755)
    assert node.acquire(1).gist == ("acquired", "")


def test_the_serial_counts_and_not_the_link(node: Node) -> None:
    """A link that points at another volume does no harm: the serial leads to the right one."""
    disk = node.disk()
    wrong = node.disk("nvme2n1", volume="vol-0bbbbbbbbbbbbbbbb")
    for link in (node.home / "by-id").iterdir():
        link.unlink()
        link.symlink_to(node.home / "dev" / wrong.name)
    assert node.acquire(1).gist == ("acquired", "")
    assert disk.number in Path(f"/proc/{node.init}/mountinfo").read_text()
    assert wrong.number not in Path(f"/proc/{node.init}/mountinfo").read_text()


def test_a_blank_volume_is_never_formatted_by_the_way(node: Node) -> None:
    """It is refused with the advice to prepare it."""
    node.disk(make="")
    assert "prepare" in failed(node, "mount")


def test_another_filesystem_than_the_configuration_means(node: Node) -> None:
    """Its kind and its UUID are compared."""
    disk = node.disk(make=f"mkfs.ext4 -q -F -U {UUID}")
    node.config["volumes"][0]["uuid"] = UUID.replace("5f", "6f")
    assert UUID in failed(node, "unverified")
    node.config["volumes"][0].update(uuid=None, filesystem="xfs")
    assert "ext4" in node.acquire(2).answer["text"]
    node.config["volumes"][0].update(uuid=UUID.upper(), filesystem="ext4")
    assert node.acquire(3).gist == ("acquired", "") and disk.loop
    assert node.held() == "0\n", "a success stands for election again"


def test_fsck_mends_what_is_safe_and_stops_at_damage(node: Node) -> None:
    """Exit 1 goes on and says so; 4 is damage and stops."""
    disk = node.disk()
    subprocess.run(
        ["debugfs", "-w", "-R", "ssv state 2", disk.loop], timeout=10, capture_output=True, check=False
    )
    ran = node.acquire(1)
    assert ran.gist == ("acquired", "") and "mended" in ran.answer["text"]
    node.release(2)
    subprocess.run(
        ["debugfs", "-w", "-R", "clri <2>", disk.loop], timeout=10, capture_output=True, check=False
    )
    subprocess.run(
        ["debugfs", "-w", "-R", "ssv state 2", disk.loop], timeout=10, capture_output=True, check=False
    )
    ran = node.acquire(3)
    assert ran.gist == ("failed", "damaged"), ran.answer["text"]
    assert not node.mounted()


@pytest.mark.parametrize(
    ("code", "gist"),
    [
        (2, ("acquired", "")),
        (4, ("failed", "damaged")),
        (8, ("failed", "damaged")),
        (12, ("failed", "damaged")),
        (127, ("failed", "configuration")),
    ],
)
def test_what_the_check_says_counts(node: Node, code: int, gist: tuple[str, str]) -> None:
    """Corrected goes on; what it left or could not check stops; a check that is not installed is said."""
    node.disk()
    (node.home / "bin/fsck.ext4").write_text(f"#!/bin/sh\nexit {code}\n")
    (node.home / "bin/fsck.ext4").chmod(0o755)
    ran = node.acquire(1)
    assert ran.gist == gist, ran.answer["text"]
    assert node.mounted() == (gist[0] == "acquired")


def test_a_damaged_xfs_is_damage(node: Node) -> None:
    """XFS has no check before the mount: the mount itself finds it."""
    node.config["volumes"][0]["filesystem"] = "xfs"
    disk = node.disk(make="mkfs.xfs -q -f")
    subprocess.run(
        [
            "xfs_db",
            "-x",
            "-c",
            "agi 0",
            "-c",
            "write -d magicnum 0",
            "-c",
            "agf 0",
            "-c",
            "write -d magicnum 0",
            disk.loop,
        ],
        timeout=10,
        capture_output=True,
        check=False,
    )
    ran = node.acquire(1)
    assert ran.gist == ("failed", "damaged"), ran.answer["text"]


def test_xfs_is_mounted(node: Node) -> None:
    """With its options."""
    node.config["volumes"][0].update(filesystem="xfs", options=["noatime", "nouuid"])
    node.disk(make="mkfs.xfs -q -f")
    assert node.acquire(1).gist == ("acquired", "")
    assert node.release(2).gist == ("released", "")


def test_a_partition(node: Node) -> None:
    """The serial is the disk's, the filesystem its partition's."""
    disk = node.disk(make="")
    node.config["volumes"][0]["partition"] = 1
    table = b"\0" * 446 + bytes.fromhex("00000000830000000008000000f00000") + b"\0" * 48 + b"\x55\xaa"
    with open(disk.loop, "r+b") as file:
        file.write(table)
    subprocess.run(["partx", "-a", disk.loop], timeout=10, check=True, capture_output=True)
    try:
        part = Path(f"/sys/block/{Path(disk.loop).name}/{Path(disk.loop).name}p1/dev").read_text().strip()
        home = node.home / "sys/block/nvme1n1/nvme1n1p1"
        home.mkdir()
        (home / "dev").write_text(part)
        node.sh(
            f"cd {node.home}/dev; mknod nvme1n1p1 b {part.replace(':', ' ')} && mkfs.ext4 -q -F nvme1n1p1"
        )
        assert node.acquire(1).gist == ("acquired", "")
        assert part in Path(f"/proc/{node.init}/mountinfo").read_text()
        assert node.release(2).gist == ("released", "")
    finally:
        subprocess.run(["partx", "-d", disk.loop], timeout=10, check=False, capture_output=True)


def test_a_unit_that_does_not_start_and_a_service_that_is_not_well(node: Node) -> None:
    """What was half done is undone, and another node is elected."""
    node.disk()
    node.config["units"] = ["bad.service"]
    (node.home / "units/bad.service").write_text("exit 1")
    assert "bad.service does not start" in failed(node, "units")
    node.config["units"] = []
    node.config["health"] = {"command": ["/bin/sh", "-c", "echo the ledger is closed; exit 3"]}
    ran = node.acquire(2, seconds=4)
    assert ran.gist == ("failed", "health") and "the ledger is closed" in ran.answer["text"]
    assert not node.mounted()


def test_a_mount_that_a_pulled_device_left_is_cleared(node: Node) -> None:
    """The volume came off by force and comes again: the dead mount does not hide its place."""
    disk = node.disk()
    node.acquire(1)
    node.yank(disk)
    subprocess.run(["losetup", "-d", disk.loop], timeout=10, check=False, capture_output=True)
    node.attach(disk, "nvme2n1")
    ran = node.acquire(2)
    assert ran.gist == ("acquired", ""), ran.answer["text"]
    assert "pulled device" in ran.answer["text"]
    assert disk.number in Path(f"/proc/{node.init}/mountinfo").read_text()


def test_something_else_at_the_mount_point(node: Node) -> None:
    """It is not covered by ours."""
    node.disk()
    node.sh(f"mkdir -p {node.mount} && mount -t tmpfs none {node.mount}")
    ran = node.acquire(1)
    assert ran.gist == ("failed", "mount") and "is mounted at" in ran.answer["text"]


@pytest.mark.parametrize("inside", ["", "exec unshare -m --propagation private "])
def test_a_volume_that_is_mounted_somewhere_else(node: Node, inside: str) -> None:
    """By a person, or in a container: it is not mounted twice, and the answer says where it is."""
    disk = node.disk()
    elsewhere, ready = node.home / "elsewhere", node.home / "ready"
    elsewhere.mkdir()
    mount = f"mount {disk.loop} {elsewhere} && touch {ready} && exec sleep 60"
    node.spawn(f"{inside}sh -c '{mount}'", ready.exists)
    ran = node.acquire(1)
    assert ran.gist == ("failed", "mount") and f"mounted at {elsewhere}" in ran.answer["text"]
    assert not node.mounted()


def test_volumes_that_the_configuration_does_not_know(node: Node) -> None:
    """Where a volume belongs comes from root's file on the node, never with a command."""
    node.disk()
    ran = node.acquire(1, "--volumes", "vol-0cccccccccccccccc")
    assert ran.gist == ("failed", "configuration") and ran.code == 4
    assert not node.mounted()


def test_twice_at_once_is_once(node: Node) -> None:
    """Two agents run the same command: one mounts, both say acquired."""
    node.disk()
    ran = []
    threads = [threading.Thread(target=lambda: ran.append(node.acquire(1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [one.gist for one in ran] == [("acquired", "")] * 3
    assert node.sh(f"grep -c ' {node.mount} ' /proc/self/mounts").strip() == "1"
