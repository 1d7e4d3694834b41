"""Whatever ends a lab, nothing of it stays on the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab.hosts import kernel, reaper
from lab.hosts.hosts import Hosts

from .conftest import eventually

LAB = """
import sys, time
from pathlib import Path
from lab.hosts import disks
from lab.hosts.hosts import Hosts, Spec
with Hosts.open(Path(sys.argv[1])) as hosts:
    hosts.disks.create("vol-0a", filesystem="ext4")
    host = hosts.add(Spec("i-0a", "a", "10.9.0.11", units=("amazon-ssm-agent.service",)))
    hosts.boot()
    hosts.attach("i-0a", "vol-0a", "/dev/sdf")
    host.run(["sh", "-ec", "mkdir /d; mount /dev/nvme1n1 /d; echo x >/d/x"])
    host.spawn(["sh", "-c", "cd /d; exec sleep 600"], "user")
    if sys.argv[2] == "worst":
        host.spawn(["dd", "if=/dev/zero", "of=/d/dirty", "bs=1M", "count=20", "conv=fsync"], "dd")
        if disks.can_stick():
            hosts.disks.stick("vol-0a", "i-0a")
        host.spawn(["sync", "-f", "/d/x"], "sync")
        time.sleep(0.3)
        host.freeze()
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def base() -> Path:
    """A base of its own for each test: what is swept is the interrupted lab's."""
    return Path(tempfile.mkdtemp())


def start(base: Path, how: str = "") -> subprocess.Popen[str]:
    """A lab in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", LAB, str(base), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def left(base: Path) -> list[object]:
    """What is still there of any lab of this base."""
    marks = [pid for pid in kernel.pids() if f"{kernel.MARK}={base}".encode() in environment(pid)]
    return [*marks, *kernel.loops(base), *base.glob("*")]


def environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGINT, ""), (signal.SIGKILL, ""), (signal.SIGINT, "worst"), (9, "worst")]
)
def test_an_interrupted_lab_leaves_nothing(base: Path, number: int, how: str) -> None:
    """Ctrl-C, and even SIGKILL: the guard sweeps after it. Worst: frozen, with a device that hangs."""
    process = start(base, how)
    wait_ready(process)
    assert left(base)
    process.send_signal(number)
    process.wait(20)
    assert eventually(lambda: left(base) == [], 10), left(base)


def test_the_next_run_sweeps_what_even_the_guard_left(base: Path) -> None:
    """With the guard killed as well, the next lab of the same base removes it; living ones stay."""
    other = start(base)
    wait_ready(other)
    mine = {path.name for path in base.glob("*")}
    process = start(base)
    wait_ready(process)
    [directory] = [path for path in base.glob("*") if path.name not in mine]
    for pid in kernel.pids():
        found = kernel.process(pid)
        if found and "reaper.py" in found.command and str(directory) in found.command:
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait(10)
    assert directory.exists()
    with Hosts.open(base) as hosts:
        assert hosts.trouble == []
        assert not directory.exists()
        assert {path.name for path in base.glob("*")} == {*mine, hosts.directory.name}
    other.send_signal(signal.SIGINT)
    other.wait(20)
    assert eventually(lambda: left(base) == [], 10), left(base)


def test_a_lab_that_lives_is_not_swept(base: Path) -> None:
    """Its directory is locked."""
    with Hosts.open(base) as hosts:
        assert reaper.sweep_left(base) == []
        assert hosts.directory.exists()
    assert left(base) == []


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.5, 0.8])
def test_ctrl_c_at_any_moment(base: Path, after: float) -> None:
    """While it opens, boots, attaches; and again while it cleans up, as impatient people do."""
    process = start(base)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(after)
    assert eventually(lambda: interrupted(process), 30)
    assert eventually(lambda: left(base) == [], 20), left(base)


def interrupted(process: subprocess.Popen[str]) -> bool:
    """Ctrl-C; whether the process is gone. An interpreter that just starts may swallow it."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        return False
    return True
