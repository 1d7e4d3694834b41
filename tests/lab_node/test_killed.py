"""The script killed at every step, at any line, and while another one runs: the same result in the end."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.lab_node.rig import BOOT, SCRIPT, Node, wait_for

pytestmark = pytest.mark.timeout(280)

STEPS_MOST = 20
ASSASSIN = str(Path(__file__).with_name("assassin.py"))
ENDLESS = 10**9
DONE = {"acquire": "acquired", "release": "released"}
STRIDE = 29
"""Every so many lines the script is killed; all of them take an hour (`--long`)."""


@pytest.fixture
def served(node: Node) -> Node:
    """A node with a volume, and a unit that has a file open there."""
    node.disk()
    node.config["units"] = ["ledger.service"]
    node.config["health"] = {"command": ["/bin/true"]}
    (node.home / "units/ledger.service").write_text(f"exec 9>{node.mount}/ledger; exec sleep 60")
    return node


def order(action: str, epoch: int) -> tuple[str, ...]:
    until = f"{time.time() + 8:.3f}"
    return (action, "--cluster", "orders", "--epoch", str(epoch), "--boot", BOOT, "--deadline", until)


def words_of(action: str, epoch: int) -> tuple[str, ...]:
    return ("shutdown",) if action == "shutdown" else order(action, epoch)


def killed_at(node: Node, step: int, *words: str) -> bool:
    """Run the script and kill it when it announces its `step`-th step; False if it has fewer."""
    process, _, err = node.begin(*words)
    deadline = time.monotonic() + 20
    while err.read_text().count("baton: ") <= step:
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, err.read_text()
        time.sleep(0.0005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)
    return True


def killed_before_line(node: Node, line: int, *words: str) -> str:
    """Run the script and kill it before its `line`-th line; where that was, "" if it has fewer."""
    process, _, err = node.begin(*words, script=(ASSASSIN, str(line), SCRIPT))
    process.wait(60)
    found = re.search(r"killed at (\S+)", err.read_text())
    return found[1] if found else ""


def hold(node: Node, name: str) -> None:
    """Somebody has a file open on the volume."""
    command = f"exec 9>{node.mount}/held; touch {node.home}/held-{name}; sleep 60"
    node.spawn(command, (node.home / f"held-{name}").exists)


def serve(node: Node, epoch: int) -> None:
    """Run an acquire to its end; everything is as one that was never disturbed leaves it."""
    ran = node.node(*order("acquire", epoch))
    assert ran.gist == ("acquired", ""), ran.answer["text"]
    word = ran.answer["word"]
    assert (word["highest"], word["serving"]) == (epoch, epoch)
    assert node.sh(f"grep -c ' {node.mount} ' /proc/self/mounts").strip() == "1"


def let_go(node: Node, epoch: int) -> None:
    """The same for a release."""
    ran = node.node(*order("release", epoch))
    assert ran.gist == ("released", ""), ran.answer["text"]
    word = ran.answer["word"]
    assert (word["highest"], word["released"], word["serving"]) == (epoch, epoch - 1, None)
    assert not node.mounted()


def test_release_killed_at_every_step(served: Node) -> None:
    """With a unit and a holder in the way: what a killed run began, the next one ends."""
    for step in range(STEPS_MOST):
        epoch = 2 * step + 1
        serve(served, epoch)
        hold(served, str(step))
        there_was_one = killed_at(served, step, *order("release", epoch + 1))
        let_go(served, epoch + 1)
        if not there_was_one:
            break
    assert step >= 6, "it announces fewer steps than it has"


def test_acquire_killed_at_every_step(served: Node) -> None:
    """Half mounted, half started, not yet remembered: run again it serves."""
    for step in range(STEPS_MOST):
        epoch = 2 * step + 1
        there_was_one = killed_at(served, step, *order("acquire", epoch))
        serve(served, epoch)
        let_go(served, epoch + 1)
        if not there_was_one:
            break
    assert step >= 6, "it announces fewer steps than it has"


def test_shutdown_killed_at_every_step(served: Node) -> None:
    """systemd's time is over before the job's is: what is run again at the next stop says released."""
    for step in range(STEPS_MOST):
        epoch = step + 1
        serve(served, epoch)
        hold(served, str(step))
        there_was_one = killed_at(served, step, "shutdown")
        ran = served.node("shutdown")
        assert ran.gist == ("released", ""), ran.answer["text"]
        word = ran.answer["word"]
        assert (word["state"], word["released"], word["serving"]) == ("STOP", epoch, None)
        assert not served.mounted()
        if not there_was_one:
            break
    assert step >= 4, "it announces fewer steps than it has"


@pytest.mark.parametrize("action", ["acquire", "release"])
def test_twice_at_once_and_one_is_killed_at_every_step(served: Node, action: str) -> None:
    """The agent runs it again while it still runs, and one of both is killed: the other one ends it."""
    for step in range(STEPS_MOST):
        epoch = 2 * step + 1
        if action == "release":
            serve(served, epoch)
            hold(served, str(step))
            epoch += 1
        other = served.begin(*order(action, epoch))
        there_was_one = killed_at(served, step, *order(action, epoch))
        ran = served.end(*other, timeout=30)
        assert ran.gist == (DONE[action], ""), (step, ran.answer["text"])
        (serve if action == "acquire" else let_go)(served, epoch)
        if action == "acquire":
            let_go(served, epoch + 1)
        if not there_was_one:
            break
    assert step >= 6, "it announces fewer steps than it has"


def killed_before_lines(node: Node, action: str, first: int, stride: int) -> int:
    """Kill the script before each of these lines, run it again; how many lines there were."""
    for line in range(first, ENDLESS, stride):
        epoch = 2 * line + 1
        if action != "acquire":
            serve(node, epoch)
            epoch += 1
        where = killed_before_line(node, line, *words_of(action, epoch))
        if not where:
            return line
        try:
            settle(node, action, epoch)
        except AssertionError as error:
            raise AssertionError(f"killed before {where}, its line {line}: {error}") from error
    raise AssertionError("unreachable")


def settle(node: Node, action: str, epoch: int) -> None:
    """Run again what was killed, and what may follow."""
    if action == "shutdown":
        assert node.node("shutdown").gist == ("released", "")
        assert not node.mounted()
    elif action == "release":
        let_go(node, epoch)
    else:
        serve(node, epoch)
        let_go(node, epoch + 1)


@pytest.mark.parametrize("action", ["acquire", "release", "shutdown"])
def test_killed_at_any_line(served: Node, action: str) -> None:
    """Every so many lines. Its children may live on for a moment, and end what they are at."""
    assert killed_before_lines(served, action, 1, STRIDE) > 200, "it has more lines than that"


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("action", ["acquire", "release", "shutdown"])
def test_killed_at_every_line(served: Node, action: str) -> None:
    """All of them."""
    assert killed_before_lines(served, action, 1, 1) > 200, "it has more lines than that"


def test_the_mount_that_a_killed_acquire_began_comes_not_after_a_newer_release(served: Node) -> None:
    """The agent is restarted in the middle of a slow mount: it ends with the script that began it."""
    slow = served.home / "bin/mount"
    home = served.home
    slow.write_text(
        f"#!/bin/sh\necho $$ >{home}/pid.new; mv {home}/pid.new {home}/pid\n"
        f'while [ ! -e {home}/go ]; do sleep 0.02; done; exec /bin/mount "$@"\n'
    )
    slow.chmod(0o755)
    process, _, _ = served.begin(*order("acquire", 1))
    wait_for((served.home / "pid").exists, 20)
    slow.unlink()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)
    let_go(served, 2)
    (served.home / "go").touch()
    pid = (served.home / "pid").read_text().strip()
    served.sh(f"while grep -qs 'State:.[^Z]' /proc/{pid}/status; do sleep 0.02; done")
    assert not served.mounted()
