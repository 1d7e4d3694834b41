"""The spool: every word of this node on its way to EventBridge, durable before it is sent.

Theory of operation. Two files of fixed size hold one word per line, `crc sequence json`. Words are
appended to one file; when it is full, the other, whose words are the oldest, is begun anew. A log
ends at the first line whose checksum fails or whose sequence does not grow: that is a torn write or
what is left of an earlier round.

- A word returned by `append` without `trouble` is on disk, and every later word, by whichever
  process and after whatever crash, has a higher sequence: the log is the clock's memory.
- The files are written full once, when they are made. From then on no space is ever asked for, so
  a full disk stops nothing, and a flush writes data only, no metadata.
- If the spool cannot be written at all (no space to make it, a broken disk, a process stopped while
  it holds the lock) the word is kept in memory, and still published.
- `acknowledged` is not flushed: losing it means sending words twice, which is harmless.
- 512 KiB hold the last 1,000 words or so. Older ones that could not be sent are given up: a node's
  newer word makes its older ones pointless, see `sender.coalesce`.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from node_hook import clock

FILE_BYTES = 256 * 1024
"""Of each of the two files: room for some 600 words, ten hours of a flapping that never ends."""

LOCK_SECONDS = 2.0
"""How long to wait for another process. It holds the lock for one flush, a millisecond or ten."""

WORD_BYTES = 4 * 1024
"""No line is longer. EventBridge would take 256 KiB; a word has some 400 bytes."""


@dataclass(frozen=True)
class Entry:
    """A word in the spool. `trouble` says why it is in memory only, "" if it is on disk."""

    sequence: int
    text: str
    trouble: str = ""


class Spool:
    """One process's view of the spool. Threads may share it; processes share the directory."""

    def __init__(self, directory: str, file_bytes: int = FILE_BYTES) -> None:
        self.directory = directory
        self._bytes = file_bytes
        self._guard = threading.Lock()
        self._entries: List[Entry] = []
        self._acknowledged = 0
        self._floor = 0
        """Highest sequence known, in memory or on disk; `_tail` is the last one on disk."""
        self._tail = 0
        self._open: Dict[str, int] = {}
        """Descriptors by file name, kept open between words."""
        self._place: Optional[Tuple[int, int]] = None
        """File and offset at which the log goes on."""
        self._unheard: List[Entry] = []
        """Words that others appended, until `refresh` tells of them."""
        self.lost = 0
        """Words given up because the spool was full of newer ones."""

    def append(self, now: float, build: Callable[[int], str]) -> Entry:
        """Make a word durable: `build` is given its sequence and returns its JSON text."""
        with self._guard:
            try:
                with self._locked():
                    return self._append(now, build)
            except OSError as error:
                self._close()
                sequence = clock.after(self._floor, now)
                entry = Entry(sequence, build(sequence), f"{error.strerror or error}")
                self._remember(entry)
                return entry

    def refresh(self) -> List[Entry]:
        """What other processes appended since this was last asked (at first: all there is)."""
        with self._guard, self._locked():
            self._unheard += self._read()
            found, self._unheard = self._unheard, []
            return found

    def pending(self) -> List[Entry]:
        """The words this process knows of that are not acknowledged, oldest first."""
        with self._guard:
            return list(self._entries)

    def last(self) -> int:
        """The highest sequence this process knows of, 0 if there is none."""
        with self._guard:
            return self._floor

    def acknowledge(self, sequence: int) -> None:
        """Every word up to this one is done with."""
        with self._guard:
            # Never down, should another process have acknowledged more.
            self._acknowledged = max(self._acknowledged, sequence, self._read_acknowledged())
            self._entries = [e for e in self._entries if e.sequence > self._acknowledged]
            try:
                os.pwrite(self._descriptor("acknowledged"), b"%020d\n" % self._acknowledged, 0)
            except OSError:
                # Nothing is lost: what is sent once more after a restart is recognised as old.
                pass

    # ------------------------------------------------------------------ under lock and guard

    def _append(self, now: float, build: Callable[[int], str]) -> Entry:
        self._unheard += self._read()
        sequence = clock.after(self._floor, now)
        entry = Entry(sequence, build(sequence))
        line = _line(entry)
        index, offset = self._place or (0, 0)
        if offset + len(line) > self._bytes:
            index, offset = 1 - index, 0
            self._give_up(index)
        descriptor = self._descriptor(f"words.{index}")
        _write_all(descriptor, line, offset)
        os.fdatasync(descriptor)
        self._place, self._tail = (index, offset + len(line)), sequence
        self._remember(entry)
        return entry

    def _give_up(self, index: int) -> None:
        """Words in a file about to be begun anew are dropped if nobody has acknowledged them."""
        sequences = {entry.sequence for entry, _ in _parse(self._content(index))}
        kept = [entry for entry in self._entries if entry.sequence not in sequences]
        given_up, self._entries = len(self._entries) - len(kept), kept
        self.lost += given_up
        if given_up:
            import logging  # here, because the node script must start fast

            logging.getLogger("baton").warning(
                "the spool is full: gave up its %d oldest words, which newer ones have made pointless",
                given_up,
            )

    def _remember(self, entry: Entry) -> None:
        self._floor = max(self._floor, entry.sequence)
        known = (other.sequence for other in self._entries)
        if entry.sequence > self._acknowledged and entry.sequence not in known:
            self._entries.append(entry)
            self._entries.sort(key=lambda entry: entry.sequence)

    def _read(self) -> List[Entry]:
        """Follow the log from where this process last left it; the entries found."""
        if self._place is None:
            self._acknowledged = self._read_acknowledged()
            logs = [list(_parse(self._content(index))) for index in (0, 1)]
            older = 0 if _last(logs[0]) < _last(logs[1]) else 1
            return self._take(older, 0, logs[older]) + self._take(1 - older, 0, logs[1 - older])
        index, offset = self._place
        found = self._take(index, offset, self._follow(index, offset))
        if self._place[1] + WORD_BYTES <= self._bytes:
            # A file is left only for want of room, so there is nothing in the other one.
            return found
        switched = self._follow(1 - index, 0)
        return found + self._take(1 - index, 0, switched) if switched else found

    def _follow(self, index: int, offset: int) -> "List[Tuple[Entry, int]]":
        """What was appended there; mostly nothing, so look at the next line first."""
        if not any(_parse(self._content(index, offset, WORD_BYTES), self._tail)):
            return []
        return list(_parse(self._content(index, offset), self._tail))

    def _take(self, index: int, offset: int, log: "List[Tuple[Entry, int]]") -> List[Entry]:
        for entry, _ in log:
            self._remember(entry)
        self._tail = max(self._tail, _last(log))
        self._place = (index, offset + (log[-1][1] if log else 0))
        return [entry for entry, _ in log]

    def _read_acknowledged(self) -> int:
        try:
            return int(os.pread(self._descriptor("acknowledged"), 64, 0) or b"0")
        except (OSError, ValueError):
            return 0

    def _content(self, index: int, offset: int = 0, size: Optional[int] = None) -> bytes:
        most = self._bytes - offset if size is None else size
        return os.pread(self._descriptor(f"words.{index}"), most, offset)

    def _descriptor(self, name: str) -> int:
        if name not in self._open:
            self._open[name] = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        return self._open[name]

    def _close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._open.get("lock")
        if lock is None or os.fstat(lock).st_nlink == 0:
            # The first time, after trouble, or somebody removed the spool.
            lock = self._begin()
        _lock(lock, LOCK_SECONDS)
        try:
            if len(self._open) == 1:
                self._make()
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)

    def _begin(self) -> int:
        self._close()
        self._place = None
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        lock = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._open["lock"] = lock
        return lock

    def _make(self) -> None:
        """Files that are missing or short, after a crash while they were made, are made whole."""
        blank = b"\n" * self._bytes
        for path, content in (
            (self._path("words.0"), blank),
            (self._path("words.1"), blank),
            (self._path("acknowledged"), b"%020d\n" % 0),
        ):
            if not os.path.exists(path) or os.path.getsize(path) < len(content):
                _create(path, content)


def _line(entry: Entry) -> bytes:
    body = b"%d %s" % (entry.sequence, entry.text.encode())
    line = b"%08x %s\n" % (zlib.crc32(body), body)
    if line.count(b"\n") > 1 or len(line) > WORD_BYTES:
        raise ValueError(f"a word is one line of at most {WORD_BYTES} bytes, not {body[:80]!r}")
    return line


def _parse(content: bytes, floor: int = 0) -> "Iterator[Tuple[Entry, int]]":
    """The log's entries, each with the offset at which it ends."""
    start = 0
    while True:
        end = content.find(b"\n", start)
        crc, _, body = content[start:end].partition(b" ")
        if end < 0 or crc != b"%08x" % zlib.crc32(body):
            return
        number, _, text = body.partition(b" ")
        if not number.isdigit() or int(number) <= floor:
            return
        floor, start = int(number), end + 1
        yield Entry(floor, text.decode()), start


def _last(log: "List[Tuple[Entry, int]]") -> int:
    return log[-1][0].sequence if log else 0


def _lock(descriptor: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(0, f"another process has held the spool for {seconds} s") from None
        time.sleep(0.001)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _create(path: str, content: bytes) -> None:
    """Make a file whole or not at all, durable with its directory entry."""
    fresh = f"{path}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, content, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)
    parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
