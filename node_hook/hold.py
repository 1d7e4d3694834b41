"""The hold: a file that keepalived tracks, and reasons why this node must not be master.

keepalived reads the integer at the start of the file (`track_file`, weight 0): while it is not 0
the instance is in FAULT and another node takes over, with or without `nopreempt`. Several parts of
Baton give up mastership for reasons of their own, so the file keeps one line per reason, and stays
non-zero until the last reason is cleared:

    1
    agent: the SSM agent is down, so no command can reach this node
    handover: given up by hand until 12:00:30
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from typing import Dict, Iterator

_REASON = re.compile(r"[a-z][a-z0-9-]{0,31}")


def put(path: str, reason: str, text: str = "") -> bool:
    """Let `reason` (one short word) hold this node in FAULT; True if it did not before."""
    if not _REASON.fullmatch(reason):
        raise ValueError(f"a reason to hold is one short lower-case word, not {reason!r}")
    with _locked(path):
        found = reasons(path)
        fresh = reason not in found
        line = " ".join(text.split())
        if found.get(reason) != line:
            _write(path, {**found, reason: line})
        return fresh


def clear(path: str, reason: str) -> bool:
    """Take back `reason`; other reasons keep standing. True if it stood."""
    if reason not in reasons(path):
        return False
    with _locked(path):
        found = reasons(path)
        stood = found.pop(reason, None) is not None
        if stood:
            _write(path, found)
        return stood


def reasons(path: str) -> Dict[str, str]:
    """The reasons that stand, with their texts; a missing file has none.

    A file that holds something else, say a bare 1 that a person wrote, has the reason "person".
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            first, *lines = file.read().splitlines() or ["0"]
    except FileNotFoundError:
        return {}
    found = dict(_split(line) for line in lines if line.strip())
    if not found and first.strip() not in ("", "0"):
        return {"person": first.strip()}
    return found


def _split(line: str) -> "tuple[str, str]":
    reason, _, text = line.partition(":")
    return reason.strip(), text.strip()


@contextmanager
def _locked(path: str) -> Iterator[None]:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(path: str, found: Dict[str, str]) -> None:
    lines = ["1" if found else "0", *(f"{reason}: {text}" for reason, text in found.items())]
    # Replaced, never rewritten in place: keepalived reads at any moment, and half a file is a 0.
    fresh = f"{path}.new"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(fresh, path)
