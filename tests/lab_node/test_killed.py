"""The script killed at every step it announces, and run again: the same result as undisturbed."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.lab_node.rig import BOOT, Node

pytestmark = pytest.mark.timeout(280)

STEPS_MOST = 20


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


def order(action: str, epoch: int) -> tuple[str, ...]:
    until = f"{time.time() + 8:.3f}"
    return (action, "--cluster", "orders", "--epoch", str(epoch), "--boot", BOOT, "--deadline", until)


def test_release_killed_at_every_step(node: Node) -> None:
    """With a unit and a holder in the way: what a killed run began, the next one ends."""
    node.disk()
    node.config["units"] = ["ledger.service"]
    (node.home / "units/ledger.service").write_text(f"exec 9>{node.mount}/ledger; exec sleep 60")
    for step in range(STEPS_MOST):
        epoch = 2 * step + 1
        assert node.acquire(epoch).gist == ("acquired", "")
        node.spawn(
            f"exec 9>{node.mount}/held; touch {node.home}/held-{step}; sleep 60",
            (node.home / f"held-{step}").exists,
        )
        there_was_one = killed_at(node, step, *order("release", epoch + 1))
        ran = node.release(epoch + 1)
        assert ran.gist == ("released", ""), (step, ran.answer["text"])
        word = ran.answer["word"]
        assert (word["highest"], word["released"], word["serving"]) == (epoch + 1, epoch, None)
        assert not node.mounted()
        if not there_was_one:
            break
    assert step >= 6, "it announces fewer steps than it has"


def test_acquire_killed_at_every_step(node: Node) -> None:
    """Half mounted, half started, not yet remembered: run again it serves."""
    node.disk()
    node.config["units"] = ["ledger.service"]
    node.config["health"] = {"command": ["/bin/true"]}
    (node.home / "units/ledger.service").write_text(f"exec 9>{node.mount}/ledger; exec sleep 60")
    for step in range(STEPS_MOST):
        epoch = step + 1
        there_was_one = killed_at(node, step, *order("acquire", epoch))
        ran = node.node(*order("acquire", epoch))
        assert ran.gist == ("acquired", ""), (step, ran.answer["text"])
        word = ran.answer["word"]
        assert (word["highest"], word["serving"]) == (epoch, epoch)
        assert node.sh(f"grep -c ' {node.mount} ' /proc/self/mounts").strip() == "1"
        assert node.release(epoch + 1).gist == ("released", "")
        if not there_was_one:
            break
    assert step >= 6, "it announces fewer steps than it has"
