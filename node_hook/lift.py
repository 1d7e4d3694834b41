"""Taking back holds whose time is over, whatever became of the job that put them up."""

from __future__ import annotations

import re
import time
from typing import Optional

from node_hook import hold

_UNTIL = re.compile(r"\(until (\d+)\)$")


def put(path: str, reason: str, text: str, seconds: float) -> None:
    """Hold this node in FAULT for `reason`, for so long at most."""
    hold.put(path, reason, f"{text} (until {time.time() + seconds:.0f})")


def expired(path: str, now: Optional[float] = None) -> "list[str]":
    """Clear the reasons whose time is over; those that were cleared."""
    cleared = []
    for reason, text in hold.reasons(path).items():
        limit = _UNTIL.search(text)
        if limit is not None and (time.time() if now is None else now) > int(limit[1]):
            hold.clear(path, reason)
            cleared.append(reason)
    return cleared
