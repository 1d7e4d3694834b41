"""release: after it nothing uses the device, and nobody but holders came to harm."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from node_hook.holders import MOST_NAMED
from tests.lab_node.rig import BOOT, PYTHON, Node, frozen, wait_for

STUBBORN = "trap '' TERM; exec 9>{mount}/held; touch {home}/ready-{name}; while :; do sleep 0.1 9>&-; done"


def stubborn(node: Node, name: str = "x") -> subprocess.Popen[bytes]:
    """A process that holds a file and ignores SIGTERM."""
    command = STUBBORN.format(mount=node.mount, home=node.home, name=name)
    return node.spawn(command, (node.home / f"ready-{name}").exists)


def free(node: Node, loop: str) -> bool:
    """Whether the kernel lets the device be opened exclusively: nobody has it mounted anywhere."""
    code = f"import os; os.open({loop!r}, os.O_RDONLY | os.O_EXCL)"
    return (
        subprocess.run(["python3", "-c", code], timeout=10, capture_output=True, check=False).returncode == 0
    )


def test_clean_release_is_idempotent_and_remembered(node: Node) -> None:
    """Released twice is released; the epoch is on disk; an older one is refused for ever."""
    disk = node.disk()
    assert node.acquire(1).gist == ("acquired", "")
    for _ in range(2):
        ran = node.release(2)
        assert ran.gist == ("released", "") and ran.code == 0
        assert not node.mounted() and free(node, disk.loop)
    word = ran.answer["word"]
    assert (word["highest"], word["released"], word["serving"]) == (2, 1, None)
    assert node.release(1).gist == ("refused", "older-epoch")
    assert node.acquire(1).gist == ("refused", "older-epoch")
    assert node.memory()["highest"] == 2


@pytest.mark.parametrize(
    ("how", "command"),
    [
        ("open", "exec 9>{m}/file; touch {r}; sleep 60"),
        ("open", "name=$(printf '\\377\\n[\\042'); exec 9>\"{m}/$name\"; touch {r}; sleep 60"),
        ("cwd", "cd {m}; touch {r}; sleep 60"),
        (
            "root",
            "mkdir {m}/root; python3 -c '"
            'import os,time; d=os.open("/",0); os.chroot("{m}/root"); os.fchdir(d); os.close(d);'
            'open("{r}"[1:],"w"); time.sleep(60)\'',
        ),
        ("mapped", "cp /bin/sleep {m}/prog; {m}/prog 60 & sleep 0.2; touch {r}; wait"),
    ],
)
def test_holders_are_named_and_ended(node: Node, how: str, command: str) -> None:
    """Whatever way a process holds the filesystem, it is found, named and told to end."""
    node.disk()
    node.acquire(1)
    ready = node.home / "ready"
    node.spawn(command.format(m=node.mount, r=ready), ready.exists)
    ran = node.release(2)
    assert ran.gist == ("released", "")
    assert how in {holder["how"] for holder in ran.answer["holders"]}
    assert not node.mounted()


def test_an_answer_is_never_so_long_that_ssm_cuts_it(node: Node) -> None:
    """Many holders with long names in a foreign script: a part of them is named, in one whole answer."""
    node.disk()
    node.acquire(1)
    folder = Path(node.mount, "é" * 100)
    name = "ü" * 100
    opened = f"for i in $(seq 60); do sleep 60 9>'{folder}'/$i-'{name}' & done; touch {node.home}/ready; wait"
    node.sh(f"mkdir '{folder}'")
    node.spawn(opened, (node.home / "ready").exists)
    ran = node.release(2)
    assert ran.gist == ("released", "") and len(ran.answer["holders"]) == MOST_NAMED
    assert len(json.dumps(ran.answer)) < 24_000


def test_an_overlay_on_it_is_named(node: Node) -> None:
    """Its layers lie on the volume, and no process has anything to do with it: a person must unmount it."""
    disk = node.disk()
    node.acquire(1)
    merged = node.home / "merged"
    node.sh(f"cd {node.mount} && mkdir low high work && mkdir {merged}")
    layers = f"lowerdir=/etc:{node.mount}/low"
    node.sh(f"mount -t overlay -o {layers} overlay {merged}")
    ran = node.release(2, seconds=2)
    assert ran.gist == ("failed", "busy") and f"overlay on {merged}" in ran.answer["text"]
    node.sh(f"umount {merged}")
    assert node.release(2).gist == ("released", "")
    assert free(node, disk.loop)


def test_sigkill_follows_sigterm_and_spares_who_does_not_hold(node: Node) -> None:
    """One that ignores SIGTERM is killed; one with the same path elsewhere is not touched."""
    disk = node.disk()
    node.acquire(1)
    elsewhere = node.home / "elsewhere"
    elsewhere.mkdir()
    innocent = node.spawn(
        f"cd {elsewhere}; exec 9>{elsewhere}/held; exec sleep 60", (elsewhere / "held").exists
    )
    holder = stubborn(node)
    ran = node.release(2)
    assert ran.gist == ("released", "") and free(node, disk.loop)
    assert "KILL" in {entry.get("signal") for entry in ran.answer["holders"]}
    wait_for(lambda: holder.poll() is not None)
    assert innocent.poll() is None


def test_a_supervisor_that_respawns_holders_loses(node: Node) -> None:
    """Holders that come back within a millisecond are met until the unmount wins; theirs lives."""
    disk = node.disk()
    node.acquire(1)
    supervisor = node.spawn(
        f"while :; do sh -c 'trap \"\" TERM; exec 9<{node.mount} && touch {node.home}/ready; sleep 60'; done",
        (node.home / "ready").exists,
    )
    ran = node.release(2, seconds=9)
    assert ran.gist == ("released", ""), ran.answer["text"]
    assert free(node, disk.loop)
    assert supervisor.poll() is None


def test_bind_mounts_and_nested_mounts_go_too(node: Node) -> None:
    """A bind of a subdirectory elsewhere, a tmpfs inside with a process in it."""
    disk = node.disk()
    node.acquire(1)
    node.sh(f"cd {node.mount}; mkdir sub nested {node.home}/bind && mount --bind sub {node.home}/bind")
    node.sh(f"mount -t tmpfs none {node.mount}/nested")
    inside = node.spawn(
        f"cd {node.mount}/nested; touch {node.home}/ready; exec sleep 60", (node.home / "ready").exists
    )
    ran = node.release(2)
    assert ran.gist == ("released", ""), ran.answer["text"]
    assert free(node, disk.loop) and not node.mounted()
    assert inside.poll() is None, "a process on a filesystem that is not ours was killed"


def test_another_mount_namespace_is_freed(node: Node) -> None:
    """A container's copy of the mount keeps the filesystem alive: it is unmounted in there."""
    disk = node.disk()
    node.acquire(1)
    ready = node.home / "ready"
    other = node.spawn(
        f"exec unshare -m --propagation private sh -c 'touch {ready}; exec sleep 60'", ready.exists
    )
    ran = node.release(2)
    assert ran.gist == ("released", ""), ran.answer["text"]
    assert free(node, disk.loop)
    assert other.poll() is None, "holding a namespace is no reason to be killed"


def test_a_namespace_without_a_process_is_freed(node: Node) -> None:
    """A namespace that only a bound file keeps alive."""
    disk = node.disk()
    node.acquire(1)
    node.sh(
        f"mkdir {node.home}/ns && mount -t tmpfs none {node.home}/ns && mount --make-private {node.home}/ns"
        f" && touch {node.home}/ns/mnt && (unshare -m --propagation private sleep 1 & p=$!; sleep 0.3;"
        f" mount --bind /proc/$p/ns/mnt {node.home}/ns/mnt; wait)"
    )
    ran = node.release(2)
    assert ran.gist == ("released", ""), ran.answer["text"]
    assert free(node, disk.loop)


def test_a_namespace_whose_processes_see_a_part_of_it(node: Node) -> None:
    """In a chroot its process's own table shows what is mounted below; what is outside goes as well."""
    disk = node.disk()
    node.acquire(1)
    (node.home / "jail/data").mkdir(parents=True)
    jailed = node.home / "bin/jailed"
    jailed.write_text(
        f"import os, time\nhome = os.open({str(node.home)!r}, 0)\nos.chroot({str(node.home / 'jail')!r})\n"
        "os.chdir('/')\nos.open('ready', os.O_CREAT | os.O_WRONLY, dir_fd=home)\n"
        "os.close(home)\ntime.sleep(60)\n"
    )
    bind = f"mount --bind {node.mount} {node.home}/jail/data && exec {PYTHON} {jailed}"
    other = node.spawn(f"exec unshare -m --propagation private sh -c '{bind}'", (node.home / "ready").exists)
    ran = node.release(2)
    assert ran.gist == ("released", ""), ran.answer["text"]
    assert free(node, disk.loop)
    assert other.poll() is None


def test_a_lazily_detached_mount_does_not_count_as_released(node: Node) -> None:
    """No table shows it, but the kernel still uses the device: its holder is found all the same."""
    disk = node.disk()
    node.acquire(1)
    holder = stubborn(node)
    node.sh(f"umount -l {node.mount}")
    assert not node.mounted() and not free(node, disk.loop)
    ran = node.release(2)
    assert ran.gist == ("released", "") and free(node, disk.loop)
    wait_for(lambda: holder.poll() is not None)


def test_a_full_disk_keeps_nothing_from_being_released(node: Node) -> None:
    """No byte is left where the epochs and the words are: released, remembered, and said."""
    disk = node.disk()
    node.sh(f"mount -t tmpfs -o size=1m none {node.home}/state")
    assert node.acquire(1).gist == ("acquired", "")
    with pytest.raises(AssertionError, match="No space left"):
        node.sh(f"cat /dev/zero >{node.home}/state/filler")
    ran = node.release(2)
    assert ran.gist == ("released", ""), ran.answer["text"]
    assert (ran.answer["word"]["highest"], ran.answer["word"]["serving"]) == (2, None)
    assert free(node, disk.loop)
    assert node.release(1).gist == ("refused", "older-epoch")


def test_what_cannot_be_freed_is_said(node: Node) -> None:
    """A holder that is spared (one of our own parents) leaves the answer busy, with its name."""
    node.disk()
    node.acquire(1)
    script = Path(__file__).resolve().parents[2] / "node_hook/node.py"
    began = time.monotonic()
    out = node.sh(
        f"cd {node.mount} && timeout 25 python3 -IS {script} release --cluster orders --epoch 2"
        f" --deadline {time.time() + 1} 2>/dev/null; true",
        timeout=30,
    )
    assert '"busy"' in out and '"protected":true' in out
    assert node.mounted() and time.monotonic() - began < 25
    assert node.memory()["highest"] == 2 and node.memory()["released"] == 0


@pytest.mark.parametrize("make", ["mkfs.ext4 -q -F", "mkfs.xfs -q -f"])
def test_a_pulled_device_is_cleaned_up(node: Node, make: str) -> None:
    """A device that vanished under a mount, with a process on it: gone from the table, in time."""
    node.config["volumes"][0]["filesystem"] = make.split()[0].partition(".")[2]
    disk = node.disk(make=make)
    assert node.acquire(1).gist == ("acquired", "")
    holder = stubborn(node)
    node.yank(disk)
    assert node.mounted()
    began = time.monotonic()
    ran = node.release(2)
    assert ran.gist == ("released", ""), ran.answer["text"]
    assert not node.mounted() and time.monotonic() - began < 15
    wait_for(lambda: holder.poll() is not None)


def test_units_stop_in_reverse_and_a_stubborn_one_is_killed(node: Node) -> None:
    """Each has its deadline; what systemd cannot stop does not stop the release."""
    node.disk()
    node.config["units"] = ["first.service", "second.service"]
    node.config["unit_seconds"] = 1
    (node.home / "units/first.service").write_text(f"exec 9>{node.mount}/a; while :; do sleep 0.1 9>&-; done")
    (node.home / "units/second.service").write_text("trap '' TERM; while :; do sleep 0.1; done")
    assert node.acquire(1).gist == ("acquired", "")
    ran = node.release(2)
    assert ran.gist == ("released", "")
    assert "second.service" in ran.answer["text"]
    log = (node.home / "units/log").read_text()
    assert log.index("start first") < log.index("start second")
    assert log.index("stop second") < log.index("stop first")


def test_an_address_left_by_a_dead_keepalived_is_deleted(node: Node) -> None:
    """No keepalived runs, the address is still there: it goes."""
    node.sh(
        "ip link add d0 type veth peer name d1 && ip link set d0 up && ip address add 10.9.0.100/24 dev d0"
    )
    node.config["addresses"] = [{"address": "10.9.0.100", "interface": "d0", "prefix": 24}]
    ran = node.release(1)
    assert ran.gist == ("released", "") and "deleted 10.9.0.100/24" in ran.answer["text"]
    assert "10.9.0.100" not in node.sh("ip -o address show")


def test_a_late_rerun_does_not_take_down_what_was_acquired_since(node: Node) -> None:
    """The agent runs a finished command again after a restart, hours later."""
    node.disk()
    node.release(1)
    node.acquire(1)
    assert node.release(1, seconds=-100).gist == ("refused", "past-deadline")
    assert node.mounted()


def test_a_lock_held_past_its_deadline_says_by_whom(node: Node) -> None:
    """The answer names the process and what it does."""
    node.home.joinpath("state").mkdir(exist_ok=True)
    node.spawn(
        f'exec 9>>{node.home}/state/lock; flock 9; echo \'{{"pid": 77, "what": "acquire, epoch 6",'
        f' "since": 1, "until": 2}}\' > {node.home}/state/lock; touch {node.home}/ready; sleep 60',
        (node.home / "ready").exists,
    )
    ran = node.release(7, seconds=0.5)
    assert ran.gist == ("refused", "locked") and ran.code == 6
    assert "process 77 (acquire, epoch 6)" in ran.answer["text"] and "past its deadline" in ran.answer["text"]


def test_a_device_that_hangs_does_not_hang_the_script(node: Node) -> None:
    """The unmount sleeps in the kernel beyond any signal: the answer comes in time and does not say
    released, though no table shows the mount any more. Once the device answers, it is released."""
    with node.shelf() as shelf:
        disk = node.disk(shelf=shelf)
        node.acquire(1)
        with frozen(shelf):
            node.sh(f"dd if=/dev/zero of={node.mount}/dirty bs=1M count=4 2>/dev/null")
            for _ in range(2):
                # The child that hangs is left behind, and keeps no later command out.
                ran = node.release(2, seconds=3)
                assert ran.gist == ("failed", "busy"), ran.answer["text"]
                assert ran.answer["word"]["highest"] == 2 and ran.answer["word"]["released"] == 0
            assert node.status()["result"] == "status"
        ran = node.release(2, seconds=15)
        assert ran.gist == ("released", ""), ran.answer["text"]
        assert free(node, disk.loop)


def test_what_the_block_layer_keeps_is_written_out(node: Node) -> None:
    """Somebody writes to the device itself after it was unmounted, and keeps it open: a release that
    has nothing to unmount writes that out all the same, before the volume is taken away."""
    disk = node.disk()
    node.acquire(1)
    node.release(2)
    code = (
        f"import os,time; d=os.open({disk.loop!r}, os.O_RDWR); os.pwrite(d, b'kept', (32 << 20) - 4096);"
        f"open('{node.home}/ready', 'w'); time.sleep(60)"
    )
    writer = node.spawn(f'exec {PYTHON} -c "{code}"', (node.home / "ready").exists)
    ran = node.release(3)
    assert ran.gist == ("released", ""), ran.answer["text"]
    with disk.image.open("rb") as image:
        image.seek((32 << 20) - 4096)
        assert image.read(4) == b"kept"
    assert writer.poll() is None, "who has the device open does not hold the filesystem"


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_the_oldest_interpreter_and_a_new_one(node: Node, version: str) -> None:
    """Whatever Python the distribution has: mounted, asked, unmounted."""
    python = interpreter(version)
    disk = node.disk()
    words = ("--cluster", "orders", "--epoch", "1", "--deadline", f"{time.time() + 20:.3f}")
    assert node.node("acquire", *words, "--boot", BOOT, python=python).gist == ("acquired", "")
    assert node.node("status", python=python).answer["status"]["serving"] == 1
    assert node.node("release", *words, python=python).gist == ("released", "")
    assert free(node, disk.loop)


def interpreter(version: str) -> str:
    """A Python of this version that is installed here."""
    own = Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")
    found = next((str(place) for place in own), None) or shutil.which(f"python{version}", path="/usr/bin")
    if found is None:
        pytest.skip(f"Python {version} is not installed here")
    return found


def test_twice_at_once_is_once(node: Node) -> None:
    """An agent that runs it again while the first still waits for a holder: both say released."""
    disk = node.disk()
    node.acquire(1)
    stubborn(node)
    deadline = f"{time.time() + 15:.3f}"
    words = ("release", "--cluster", "orders", "--epoch", "2", "--deadline", deadline)
    begun = [node.begin(*words) for _ in range(2)]
    ran = [node.end(*one, timeout=40) for one in begun]
    assert [one.gist for one in ran] == [("released", "")] * 2
    assert free(node, disk.loop) and node.memory()["released"] == 1
