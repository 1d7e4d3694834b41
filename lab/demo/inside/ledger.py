#!/usr/bin/env python3
"""A service that can only run once: one writer, whose files lie on the volumes.

    ledger.py PORT DIRECTORY...

A client sends `W <number>`; the number is appended to a file, fsynced, and only then acknowledged
with `A <number>`. Numbers go to the directories in turn, so every volume bears witness. It refuses
nobody, but a failed write ends it: what it cannot keep it must not acknowledge.
"""

import os
import socketserver
import sys
import threading

FILE = "ledger"


class Book:
    """The files, one for each volume, open for appending."""

    def __init__(self, directories: "list[str]") -> None:
        self._lock = threading.Lock()
        self._files = [_open(directory) for directory in directories]

    def enter(self, number: int) -> None:
        """Keep a number for good, or end the service."""
        file = self._files[number % len(self._files)]
        line = b"%d\n" % number
        try:
            with self._lock:
                if os.write(file, line) != len(line):
                    raise OSError("the volume is full")
                os.fsync(file)
        except OSError as error:
            sys.stderr.write(f"cannot keep {number}: {error}\n")
            sys.stderr.flush()
            os._exit(1)


def _open(directory: str) -> int:
    path = os.path.join(directory, FILE)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        # The last entry was torn by a power cut, so it was never acknowledged.
        os.write(file, b"\n")
    os.fsync(file)
    directory_handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory_handle)
    os.close(directory_handle)
    return file


class Handler(socketserver.StreamRequestHandler):
    """One client."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve until it goes away."""
        try:
            for line in self.rfile:
                verb, _, number = line.decode("ascii").partition(" ")
                if verb != "W":
                    return
                BOOKS[0].enter(int(number))
                self.wfile.write(b"A %d\n" % int(number))
        except (OSError, ValueError):
            return


class Server(socketserver.ThreadingTCPServer):
    """A restarted service takes its port at once."""

    allow_reuse_address = True
    daemon_threads = True


BOOKS: "list[Book]" = []


def main(given: "list[str]") -> None:
    """Serve until killed."""
    BOOKS.append(Book(given[1:]))
    with Server(("0.0.0.0", int(given[0])), Handler) as server:
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(sys.argv[1:])
