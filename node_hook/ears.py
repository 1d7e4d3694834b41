"""The listening thread: reads keepalived's FIFO whatever else happens, and notes when it dies.

keepalived never blocks on its FIFO: once 64 KiB are full it drops lines without a word. So nothing
is done here but reading: no disk, no network, no lock that others hold for long.
"""

from __future__ import annotations

import os
import selectors
import stat
import threading
import time
from queue import SimpleQueue

from node_hook import word
from node_hook.events import Event, Gone, Heard, Woken
from node_hook.keepalived import Process
from node_hook.paths import Paths

CHUNK_BYTES = 64 * 1024
LINE_BYTES = 1024
"""keepalived's lines have some 50 bytes. More without a line end is not keepalived."""


class Ears:
    """Listens, and puts what it hears into `heard`."""

    def __init__(self, paths: Paths, heard: "SimpleQueue[Event]") -> None:
        self._heard = heard
        self._path = paths.fifo
        self._selector = selectors.DefaultSelector()
        self._fifo = make_fifo(paths.fifo)
        self._wake = make_fifo(os.path.join(paths.run, word.WAKE))
        self._rests = {self._fifo: b""}
        """The FIFOs that are read (there may be older ones, see `renew`), with half a line each."""
        self.stale = self._discard()
        """How many bytes were in the FIFO from before: not to be trusted, and thrown away."""
        self._selector.register(self._fifo, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="ears", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def watch(self, process: Process) -> bool:
        """Say `Gone` when this process ends; False where the kernel cannot tell (before 5.3)."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except (OSError, AttributeError):
            return False
        self._selector.register(descriptor, selectors.EVENT_READ, process)
        # The selector takes this in while it waits, as epoll does.
        return True

    def renew(self) -> bool:
        """Open the FIFO anew if the path is no longer ours: somebody cleaned up, or made another."""
        try:
            found = os.stat(self._path)
            mine = os.fstat(self._fifo)
            if (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino):
                return False
        except FileNotFoundError:
            pass
        self._fifo = make_fifo(self._path)
        self._rests[self._fifo] = b""
        # The old one stays open: keepalived may hold it still, and goes on writing there.
        self._selector.register(self._fifo, selectors.EVENT_READ)
        return True

    def _run(self) -> None:
        while True:
            ready = self._selector.select()
            self._read()
            for key, _ in ready:
                if key.fd == self._wake:
                    os.read(self._wake, CHUNK_BYTES)
                    self._heard.put(Woken())
                elif isinstance(key.data, Process):
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
                    # What it wrote before it died is in the FIFO by now.
                    self._read()
                    self._heard.put(Gone(key.data))

    def _read(self) -> None:
        for fifo in list(self._rests):
            self._empty(fifo)

    def _empty(self, fifo: int) -> None:
        """Take everything out of a FIFO."""
        while True:
            try:
                chunk = os.read(fifo, CHUNK_BYTES)
            except BlockingIOError:
                return
            now = time.time()
            *lines, rest = (self._rests[fifo] + chunk).split(b"\n")
            self._rests[fifo] = rest[-LINE_BYTES:]
            for line in lines:
                if line.strip():
                    self._heard.put(Heard(line[:LINE_BYTES].decode("utf-8", "replace"), now))

    def _discard(self) -> int:
        size = 0
        while True:
            try:
                size += len(os.read(self._fifo, CHUNK_BYTES))
            except BlockingIOError:
                return size


def make_fifo(path: str) -> int:
    """The FIFO under this path, made if need be, open for reading and writing.

    For writing too, so that it has a reader and a writer for as long as this process lives:
    keepalived finds it open whenever it starts, and its end is no end of file here.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    try:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            # keepalived or a person wrote a plain file where the FIFO belongs.
            os.unlink(path)
            os.mkfifo(path, 0o600)
    except FileNotFoundError:
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
