"""Power cuts lose what was not fsynced, and nothing else; volumes come and go as EC2's do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.hosts import disks
from lab.hosts.hosts import Host, Hosts

BOUND_SECONDS = 15.0
"""A power cut takes a second, on a machine that is busy with other tests some more."""

WRITE = """mkdir -p /data && mount /dev/nvme1n1 /data && echo safe >/data/safe && sync /data/safe /data
echo lost >/data/lost"""


@pytest.fixture(autouse=True)
def bare(hosts: Hosts) -> Iterator[None]:
    """Each test leaves the hosts without volumes."""
    yield
    for host in hosts:
        for volume in list(host.power.volumes):
            hosts.detach(host.instance, volume, True)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_power_cut_loses_what_was_not_fsynced(hosts: Hosts, a: Host, b: Host, kind: str) -> None:
    """The other host finds the fsynced file on the volume, and not the other one's content."""
    hosts.disks.create(f"vol-0{kind}", megabytes=320, filesystem=kind)
    hosts.attach("i-0a", f"vol-0{kind}", "/dev/sdf")
    a.run(["sh", "-ec", WRITE])
    began = time.monotonic()
    a.power_off()
    assert time.monotonic() - began < BOUND_SECONDS
    assert not a.up and a.power.trouble == []
    assert hosts.mounted() == []
    assert hosts.detach("i-0a", f"vol-0{kind}", True)
    hosts.attach("i-0b", f"vol-0{kind}", "/dev/sdf")
    b.run(["sh", "-ec", "mkdir -p /data && mount /dev/nvme1n1 /data"])
    assert b.run(["cat", "/data/safe"]).out == "safe\n"
    assert b.run(["cat", "/data/lost"], check=False).out == ""
    b.run(["umount", "/data"])
    assert hosts.detach("i-0b", f"vol-0{kind}", False)


def test_a_mounted_volume_is_let_go_only_by_force(hosts: Hosts, a: Host) -> None:
    """In any mount namespace of the host, and lazily unmounted too."""
    hosts.disks.create("vol-0c", filesystem="ext4")
    hosts.attach("i-0a", "vol-0c", "/dev/sdf")
    a.spawn(["unshare", "-m", "sh", "-c", "mkdir /m; mount /dev/nvme1n1 /m; exec sleep 600"], "other")
    deadline = time.monotonic() + 5
    while not hosts.mounted() and time.monotonic() < deadline:
        time.sleep(0.02)
    [mounted] = hosts.mounted()
    assert (mounted.host, mounted.volume, mounted.point, mounted.live) == ("i-0a", "vol-0c", "/m", True)
    assert not hosts.detach("i-0a", "vol-0c", False)
    assert hosts.detach("i-0a", "vol-0c", True)
    assert hosts.disks.all() == []
    assert not a.file("/dev/nvme1n1").exists()


def test_the_kernels_files_tell_the_serial(hosts: Hosts, a: Host) -> None:
    """By udev's link, by sysfs and by lsblk; only this host's devices show."""
    hosts.disks.create("vol-0123abc")
    hosts.attach("i-0a", "vol-0123abc", "/dev/sdf")
    link = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123abc"
    assert a.run(["readlink", "-f", link]).out == "/dev/nvme1n1\n"
    assert a.run(["cat", "/sys/class/block/nvme1n1/device/serial"]).out == "vol0123abc\n"
    assert a.run(["lsblk", "-n", "-o", "NAME,SERIAL"]).out.split() == ["nvme1n1", "vol0123abc"]
    assert hosts.detach("i-0a", "vol-0123abc", False)
    assert not hosts.disks.all()


def test_a_reboot_changes_the_boot_and_keeps_the_disk(hosts: Hosts, a: Host) -> None:
    """What is below /var/lib/baton stays; the root is new; volumes are there again."""
    hosts.disks.create("vol-0d", filesystem="ext4")
    hosts.attach("i-0a", "vol-0d", "/dev/sdf")
    a.run(["sh", "-c", "echo 7 >/var/lib/baton/epoch; echo gone >/root/gone"])
    before = a.run(["cat", "/proc/sys/kernel/random/boot_id"]).out
    a.reboot()
    after = a.run(["cat", "/proc/sys/kernel/random/boot_id"]).out
    assert before != after == a.boot_id + "\n"
    assert a.run(["cat", "/var/lib/baton/epoch"]).out == "7\n"
    assert a.run(["cat", "/root/gone"], check=False).code != 0
    assert a.run(["test", "-b", "/dev/nvme1n1"]).code == 0
    assert hosts.detach("i-0a", "vol-0d", False)


@pytest.mark.skipif(not disks.can_stick(), reason="needs the blkio throttle of cgroup version 1")
def test_a_hung_device_hangs_tasks_and_no_one_else(hosts: Hosts, a: Host) -> None:
    """The task waits uninterruptibly; the power cut is bounded all the same."""
    hosts.disks.create("vol-0e", filesystem="ext4")
    hosts.attach("i-0a", "vol-0e", "/dev/sdf")
    a.run(["sh", "-ec", "mkdir -p /data && mount /dev/nvme1n1 /data && echo 1 >/data/f && sync /data/f"])
    hosts.disks.stick("vol-0e", "i-0a")
    a.spawn(["sh", "-c", "dd if=/dev/zero of=/data/g bs=1M count=4 conv=fsync"], "dd")
    time.sleep(0.5)
    assert "D" in {each.state for each in a.processes() if each.name == "dd"}
    began = time.monotonic()
    a.power_off()
    assert time.monotonic() - began < BOUND_SECONDS
    assert a.power.trouble == []
    assert hosts.disks.all() == []


SHUTDOWN_UNIT = """[Unit]
After=keepalived.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'systemctl is-active keepalived; systemctl is-system-running; umount /data; true'
"""


def test_an_orderly_shutdown_stops_units_in_reverse_order(hosts: Hosts, a: Host) -> None:
    """What came after keepalived stops before it; the volume was unmounted, so all is on it."""
    hosts.disks.create("vol-0f", filesystem="ext4")
    hosts.attach("i-0a", "vol-0f", "/dev/sdf")
    a.run(["sh", "-ec", "mkdir -p /data && mount /dev/nvme1n1 /data && echo unsynced >/data/f"])
    a.run(["sh", "-c", "cat >/etc/systemd/system/last.service"], text=SHUTDOWN_UNIT)
    a.systemctl("start", "last")
    hosts.stop("i-0a", force=False, skip_os_shutdown=False)
    assert not a.up
    assert a.log("last.service.log").read_text() == "active\nstopping\n"
    hosts.start("i-0a")
    a.run(["sh", "-ec", "mkdir -p /data && mount /dev/nvme1n1 /data"])
    assert a.run(["cat", "/data/f"]).out == "unsynced\n"


def test_the_machines_own_services_do_not_start_in_a_host(hosts: Hosts, a: Host) -> None:
    """Only what the host's specification names."""
    wanted = a.run(["ls", "/etc/systemd/system/multi-user.target.wants"]).out.split()
    assert wanted == ["amazon-ssm-agent.service", "keepalived.service"]


def test_a_frozen_host_can_be_powered_off(hosts: Hosts, a: Host) -> None:
    """As StopInstances with Force and SkipOsShutdown does it, with a volume in use."""
    hosts.disks.create("vol-0a1", filesystem="xfs", megabytes=320)
    hosts.attach("i-0a", "vol-0a1", "/dev/sdf")
    a.run(["sh", "-ec", "mkdir -p /data && mount /dev/nvme1n1 /data"])
    a.spawn(["sh", "-c", "while :; do echo x >>/data/x; sync /data/x; done"], "writer")
    time.sleep(0.3)
    a.freeze()
    began = time.monotonic()
    hosts.stop("i-0a", force=True, skip_os_shutdown=True)
    assert time.monotonic() - began < BOUND_SECONDS
    a.thaw()
    assert not a.up and hosts.mounted() == []


def test_a_device_yanked_from_a_running_host_is_dead_there(hosts: Hosts, a: Host, b: Host) -> None:
    """Force-detach: the old host still has it mounted, but reads and writes nothing."""
    hosts.disks.create("vol-0a2", filesystem="ext4")
    hosts.attach("i-0a", "vol-0a2", "/dev/sdf")
    a.run(["sh", "-ec", "mkdir -p /data && mount /dev/nvme1n1 /data && echo 1 >/data/f && sync /data/f"])
    assert hosts.detach("i-0a", "vol-0a2", True)
    assert a.run(["sh", "-c", "echo 2 >>/data/f && sync /data/f"], check=False).code != 0
    assert a.run(["findmnt", "/data"]).code == 0
    hosts.attach("i-0b", "vol-0a2", "/dev/sdf")
    b.run(["sh", "-ec", "mkdir -p /data && mount /dev/nvme1n1 /data"])
    assert b.run(["cat", "/data/f"]).out == "1\n"
    a.run(["umount", "/data"])
