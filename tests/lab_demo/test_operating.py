"""The operator's commands against a lab that `demo --keep` left running: real nodes answer them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab_demo.running import CLEAN_SECONDS, ROOT, await_gone, finish, labs, start

pytestmark = [pytest.mark.alone, pytest.mark.timeout(395)]

KEPT = "runs on until Ctrl-C"
KEPT_SECONDS = 240.0
COMMAND_SECONDS = 200.0


class Kept:
    """A lab that runs on, as the person in the other terminal sees it."""

    def __init__(self, text: str) -> None:
        self.environment = dict(re.findall(r"^ +export (\w+)=(\S+)$", text, re.MULTILINE))
        self.entrances = re.findall(r"^ +(nsenter -at \d+) bash", text, re.MULTILINE)

    def baton(self, *words: str) -> dict[str, Any]:
        """What a command prints with `--json`; it has to succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words, "--stage", "lab", "--json"],
            cwd=ROOT,
            env={**os.environ, **self.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @property
    def picture(self) -> dict[str, Any]:
        """The one cluster, as `status` shows it."""
        (found,) = self.baton("status")["clusters"]
        picture: dict[str, Any] = found
        return picture


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A lab after one hand-over. Ctrl-C ends it, with status 0, and nothing of it is left."""
    before, out = labs(), tmp_path_factory.mktemp("kept") / "out"
    process = start("demo", "--scenario", "planned", "--keep", out=out)
    until = time.monotonic() + KEPT_SECONDS
    while KEPT not in out.read_text() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    try:
        assert KEPT in out.read_text(), out.read_text()
        time.sleep(1.0)
        yield Kept(out.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        status = finish(process, CLEAN_SECONDS)
    assert status == 0, out.read_text()
    await_gone(before)


def test_status_shows_what_is(kept: Kept) -> None:
    """Settled on the second owner; each node was heard lately, each resource is where it belongs."""
    picture = kept.picture
    assert (picture["standing"], picture["epoch"]) == ("settled", 2), picture
    assert all(node["fresh"] and node["agent"] for node in picture["nodes"]), picture
    assert all(resource["right"] for resource in picture["resources"]), picture


def test_a_node_can_be_entered(kept: Kept) -> None:
    """The printed command leads into a host: there, on the owner alone, the volumes are mounted."""
    mounts = [
        subprocess.run([*entrance.split(), "cat", "/proc/mounts"], capture_output=True, text=True, check=True)
        for entrance in kept.entrances
    ]
    assert sorted("/srv/" in seen.stdout for seen in mounts) == [False, False, True]


def test_a_check_of_the_lab_finds_no_problem(kept: Kept) -> None:
    """The lab's account is as the preflight wants an account to be."""
    cluster = kept.picture["cluster"]
    assert kept.baton("check", cluster)["findings"] == []


def test_a_handover_there_and_its_history(kept: Kept) -> None:
    """The cluster moves to the node that was named; who asked and why is in the history."""
    before = kept.picture
    moved = kept.baton("handover", before["cluster"], "--why", "to see it move")
    assert (moved["from"], moved["epoch"], moved["settled"]) == (before["owner"], before["epoch"] + 1, True)
    after = kept.picture
    assert (after["owner"], after["standing"]) == (moved["to"], "settled")
    assert all(resource["right"] for resource in after["resources"]), after
    history = kept.baton("history", before["cluster"])
    assert history["epochs"][0]["owner"] == moved["to"]
    assert history["people"][0]["why"] == "to see it move"


def test_a_pause_holds_until_it_is_ended(kept: Kept) -> None:
    """While paused no hand-over can be asked for; afterwards one can."""
    cluster = kept.picture["cluster"]
    kept.baton("pause", cluster, "--why", "network maintenance")
    assert kept.picture["paused"]
    with pytest.raises(AssertionError, match="paused"):
        kept.baton("handover", cluster, "--dry-run")
    kept.baton("resume", cluster, "--why", "done")
    assert not kept.picture["paused"]
    assert not kept.baton("handover", cluster, "--dry-run")["begun"]
