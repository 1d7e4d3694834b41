"""Small files that must survive a power failure, and locks that die with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from typing import Iterator, Optional


def read(path: str) -> Optional[str]:
    """A small file's content without surrounding space; None if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def write_durably(path: str, text: str) -> None:
    """Replace a file as a whole; on return it is on disk, name and content.

    Callers hold a lock. A full disk must not keep a node from releasing: then the file is written
    in place, which asks for no space; it is shorter than a sector, which a device writes whole.
    """
    try:
        _replace(path, text.encode())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not os.path.exists(path):
            raise
        _overwrite(path, text.encode())


def _replace(path: str, data: bytes) -> None:
    fresh = f"{path}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)
    sync_directory(os.path.dirname(path))


def _overwrite(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, data.ljust(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_durably(path: str, line: str) -> None:
    """Add a line to a log; on return it is on disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, line.encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: str, until: float) -> Iterator[int]:
    """Hold a lock file; the kernel lets go of it when the process dies. Raises TimeoutError.

    Gives the descriptor, so that the holder may write its name into the file.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.time() >= until:
                    raise TimeoutError(path) from None
            time.sleep(0.01)
        yield descriptor
    finally:
        # Not by closing alone: a child that hangs in the kernel has it open as well, and would keep
        # every later command out.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
