"""systemd units, stopped and started with a deadline each. systemctl itself may hang: it is bounded."""

from __future__ import annotations

import time
from typing import Callable, Optional

from node_hook import children

ASK_SECONDS = 3.0
"""`is-active` asks process 1 over a socket: milliseconds, or it is in trouble."""

_AT_REST = ("inactive", "failed", "unknown")


def states(units: "tuple[str, ...]") -> "dict[str, str]":
    """Each unit's state in systemd's words; "unknown" for all if systemd does not answer."""
    if not units:
        return {}
    ended = children.run(["systemctl", "is-active", *units], time.time() + ASK_SECONDS)
    lines = ended.output.split()
    if len(lines) != len(units):
        return dict.fromkeys(units, "unknown")
    return dict(zip(units, lines))  # noqa: B905 - 3.9


def stop(units: "tuple[str, ...]", unit_seconds: float, until: float) -> "list[str]":
    """Stop in reverse order; those that had to be killed, or would not stop at all.

    A unit past its time is killed by systemd, which knows all of its processes. What still holds
    the volume after that is met as a holder.
    """
    stubborn = []
    before = states(units)
    for unit in reversed(units):
        if before[unit] in _AT_REST[:2]:
            continue
        ended = children.run(["systemctl", "stop", unit], min(until, time.time() + unit_seconds))
        if ended.code == 0 or (ended.code is not None and before[unit] == "unknown"):
            continue
        stubborn.append(unit)
        children.run(["systemctl", "kill", "--signal=SIGKILL", unit], time.time() + ASK_SECONDS)
    return stubborn


def start(units: "tuple[str, ...]", until: float, stopped: Callable[[], bool]) -> Optional[str]:
    """Start in order, until one fails: the reason, for people. `stopped` breaks it off."""
    for unit in units:
        ended = children.run(["systemctl", "start", unit], until, stop=stopped)
        if ended.code is None:
            return f"{unit} has not started by the deadline"
        if ended.code != 0:
            reason = ended.last_line or f"systemctl exited {ended.code}"
            return f"{unit} does not start: {reason}; see journalctl -u {unit}"
    return None
