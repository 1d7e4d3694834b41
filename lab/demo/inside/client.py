#!/usr/bin/env python3
"""A client of the ledger: numbered writes without pause, and a log of what was acknowledged.

    client.py ADDRESS PORT LOG

Each line of the log is `S <number> <seconds>` (sent) or `A <number> <seconds>` (acknowledged), by
the machine's monotonic clock. A number is sent once: after a failure the next one follows, so an
acknowledged number is one that the service promised to keep, and no other.
"""

import os
import socket
import sys
import time

CONNECT_SECONDS = 0.25
ANSWER_SECONDS = 0.4
"""An fsync takes some milliseconds. Longer means that nobody serves."""
PAUSE_SECONDS = 0.01
"""Between two writes: the outage is measured this finely, and two cores carry it."""


class Log:
    """Appends lines at once, so that a reader outside sees what has happened so far."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, what: str, number: int) -> None:
        """What happened to a number, now."""
        os.write(self._file, f"{what} {number} {time.monotonic():.4f}\n".encode())


def connect(address: str, port: int) -> "socket.socket | None":
    """A connection, or None if nobody answers."""
    try:
        link = socket.create_connection((address, port), CONNECT_SECONDS)
    except OSError:
        return None
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.settimeout(ANSWER_SECONDS)
    return link


def write(link: socket.socket, number: int) -> bool:
    """Whether the service acknowledged this number on this connection."""
    try:
        link.sendall(b"W %d\n" % number)
        return link.recv(64) == b"A %d\n" % number
    except OSError:
        return False


def main(given: "list[str]") -> None:
    """Write until killed."""
    address, port, log = given[0], int(given[1]), Log(given[2])
    number, link = 0, None
    while True:
        number += 1
        log.note("S", number)
        link = link or connect(address, port)
        if link and write(link, number):
            log.note("A", number)
        elif link:
            link.close()
            link = None
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
