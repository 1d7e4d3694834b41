"""The spool and its clock: durable, in order, whatever is torn, full, shared or lost."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from node_hook import clock, spool
from node_hook.sender import coalesce
from node_hook.spool import Entry, Spool


def text(sequence: int) -> str:
    """A small word."""
    return json.dumps({"sequence": sequence, "kind": "transition", "filler": "x" * 60})


def append(directory: Path, now: float = 0.0, size: int = spool.FILE_BYTES) -> Entry:
    """Append by a process of its own, as it were."""
    return Spool(str(directory), size).append(now, text)


def test_sequence_grows_though_the_clock_does_not(tmp_path: Path) -> None:
    """max(last + 1, now), from what is on disk."""
    first = append(tmp_path, 1000.0)
    assert first.sequence == 1_000_000
    assert append(tmp_path, 5.0).sequence == 1_000_001
    assert append(tmp_path, 2000.5).sequence == 2_000_500


def test_a_lost_disk_starts_above(tmp_path: Path) -> None:
    """With the disk gone, the wall clock alone puts new words after old ones."""
    last = append(tmp_path / "a", time.time())
    time.sleep(0.003)
    assert append(tmp_path / "b", time.time()).sequence > last.sequence


def test_acknowledged_words_stay_so(tmp_path: Path) -> None:
    """After a restart only what was not acknowledged is pending."""
    entries = [append(tmp_path, 1.0 + i) for i in range(4)]
    first = Spool(str(tmp_path))
    first.refresh()
    first.acknowledge(entries[1].sequence)
    again = Spool(str(tmp_path))
    again.refresh()
    assert again.pending() == entries[2:]


def test_torn_at_every_byte(tmp_path: Path) -> None:
    """A write cut off anywhere loses that word alone, and the next one takes its place."""
    source = tmp_path / "whole"
    append(source, 1.0, 2048)
    size = os.path.getsize(source / "words.0")
    before = (source / "words.0").read_bytes()
    append(source, 2.0, 2048)
    after = (source / "words.0").read_bytes()
    changed = [i for i in range(size) if before[i] != after[i]]
    for cut in range(changed[0], changed[-1] + 1):
        torn = tmp_path / "torn"
        shutil.copytree(source, torn)
        (torn / "words.0").write_bytes(after[:cut] + before[cut:])
        opened = Spool(str(torn), 2048)
        assert [entry.sequence for entry in opened.refresh()] == [1000]
        assert opened.append(3.0, text).sequence == 3000
        assert [e.sequence for e in Spool(str(torn), 2048).refresh()] == [1000, 3000]
        shutil.rmtree(torn)


def test_a_full_spool_gives_up_its_oldest(tmp_path: Path) -> None:
    """Two files go round: the newest words are kept, in order, and the loss is counted."""
    writer = Spool(str(tmp_path), 1024)
    made = [writer.append(float(i), text) for i in range(1, 101)]
    again = Spool(str(tmp_path), 1024)
    again.refresh()
    kept = again.pending()
    assert kept == made[-len(kept) :] == writer.pending()
    assert writer.lost == 100 - len(kept) and len(kept) >= 8
    assert os.path.getsize(tmp_path / "words.0") == 1024


def test_processes_see_each_others_words_over_rounds(tmp_path: Path) -> None:
    """A reader that looks now and then finds every word, whichever file it went to."""
    reader, found = Spool(str(tmp_path), 2048), []
    writers = [Spool(str(tmp_path), 2048) for _ in range(3)]
    for i in range(120):
        made = writers[i % 3].append(0.0, text)
        if i % 4 == 0:
            found += reader.refresh()
            reader.acknowledge(made.sequence)
    assert [e.sequence for e in found + reader.refresh()] == list(range(1, 121))


def _append_many(directory: str, times: int, report: str) -> None:
    mine = Spool(directory)
    with open(report, "a", encoding="ascii", buffering=1) as file:
        for _ in range(times):
            entry = mine.append(time.time(), text)
            assert not entry.trouble
            file.write(f"{entry.sequence}\n")


def test_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes append at once: no sequence twice, nothing lost."""
    monkeypatch.setattr(spool, "LOCK_SECONDS", 30.0)  # however busy the machine is
    directory = tmp_path / "spool"
    workers = [
        multiprocessing.get_context("fork").Process(
            target=_append_many, args=(str(directory), 60, str(tmp_path / f"report{i}"))
        )
        for i in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    said = sorted(int(n) for i in range(3) for n in (tmp_path / f"report{i}").read_text().split())
    assert len(set(said)) == 180
    assert [e.sequence for e in Spool(str(directory)).refresh()] == said


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9 in the middle: what was reported as appended is there, and sequences go on growing."""
    directory, report = tmp_path / "spool", tmp_path / "report"
    for round in range(15):
        worker = multiprocessing.get_context("fork").Process(
            target=_append_many, args=(str(directory), 10_000, str(report))
        )
        worker.start()
        before = report.stat().st_size if report.exists() else 0
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (not report.exists() or report.stat().st_size == before):
            time.sleep(0.001)
        time.sleep(0.0007 * round)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(5)
    said = [int(n) for n in report.read_text().split()]
    assert said == sorted(set(said)) and len(said) >= 15
    found = [e.sequence for e in Spool(str(directory)).refresh()]
    assert found == sorted(set(found))
    assert set(said[-200:]) <= set(found)


def test_a_process_that_stops_with_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody frozen while it holds the lock delays a word by seconds; it is said all the same."""
    monkeypatch.setattr(spool, "LOCK_SECONDS", 0.5)
    append(tmp_path, 1.0)
    lock = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    mine = Spool(str(tmp_path))
    began = time.monotonic()
    entry = mine.append(2.0, text)
    assert time.monotonic() - began < 10
    assert entry.trouble and mine.pending() == [entry]
    os.close(lock)
    later = mine.append(0.0, text)
    assert later.sequence > entry.sequence and not later.trouble
    assert [e.sequence for e in mine.pending()] == [1000, entry.sequence, later.sequence]


def test_words_in_memory_do_not_hide_others(tmp_path: Path) -> None:
    """A process that had to keep a word in memory overwrites nothing that others appended."""
    mine = Spool(str(tmp_path))
    mine.append(1.0, text)
    lock = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert mine.append(50.0, text).trouble
    os.close(lock)
    append(tmp_path, 2.0)
    mine.append(3.0, text)
    assert [e.sequence for e in Spool(str(tmp_path)).refresh()] == [1000, 2000, 50_001]


def test_coalescing_leaves_out_overtaken_heartbeats_only() -> None:
    """Transitions and answers stay; of the heartbeats only a newest word."""
    words = [Entry(i, kind) for i, kind in enumerate(["beat", "move", "beat", "answer", "beat"])]
    kept = coalesce(words, lambda entry: entry.text == "beat")
    assert [entry.sequence for entry in kept] == [1, 3, 4]


def test_ahead_is_measured() -> None:
    """A sequence from a clock that ran ahead shows by how much."""
    assert clock.ahead(1_000_000, 900.0) == 100.0
    assert clock.ahead(1_000_000, 1100.0) == 0.0


class SpoolMachine(RuleBasedStateMachine):
    """Any mix of processes, clock steps, crashes, torn tails, acknowledgements and rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="spool-")
        self.views = [Spool(self.directory, 4096) for _ in range(2)]
        self.now = 1000.0
        self.made: list[int] = []
        self.done = 0

    def teardown(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.directory)

    @rule(view=st.integers(0, 1), size=st.integers(0, 400))
    def append(self, view: int, size: int) -> None:
        """A word of some size."""
        entry = self.views[view].append(self.now, lambda sequence: "x" * size)
        assert not entry.trouble
        assert entry.sequence > max([0, *self.made])
        assert entry.sequence >= int(self.now * 1000)
        self.made.append(entry.sequence)

    @rule(seconds=st.floats(-1e6, 1e6))
    def step_clock(self, seconds: float) -> None:
        """The wall clock jumps, either way."""
        self.now = max(0.0, self.now + seconds)

    @rule(view=st.integers(0, 1))
    def crash(self, view: int) -> None:
        """A process dies, and another begins."""
        self.views[view] = Spool(self.directory, 4096)

    @rule(view=st.integers(0, 1), count=st.integers(1, 30))
    def acknowledge(self, view: int, count: int) -> None:
        """The publisher is done with some words."""
        self.views[view].refresh()
        pending = self.views[view].pending()[:count]
        if pending:
            self.done = max(self.done, pending[-1].sequence)
            self.views[view].acknowledge(pending[-1].sequence)

    @rule(garbage=st.binary(min_size=1, max_size=60))
    def tear(self, garbage: bytes) -> None:
        """A power failure leaves something where the next line belongs."""
        fresh = Spool(self.directory, 4096)
        fresh.refresh()
        index, offset = fresh._place or (0, 0)
        with open(f"{self.directory}/words.{index}", "r+b") as file:
            file.seek(offset)
            file.write(garbage[: 4096 - offset])
        self.views = [Spool(self.directory, 4096) for _ in range(2)]

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        """What is pending is the newest of what was made, unbroken, and none that was done with."""
        fresh = Spool(self.directory, 4096)
        fresh.refresh()
        pending = [entry.sequence for entry in fresh.pending()]
        waiting = [sequence for sequence in self.made if sequence > self.done]
        assert pending == waiting[len(waiting) - len(pending) :]
        assert len(pending) == len(waiting) or len(pending) >= 9


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
