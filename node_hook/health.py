"""The health command, asked again and again after an acquire until the service works."""

from __future__ import annotations

import time
from typing import Callable, Optional

from node_hook import children
from node_hook.config import Health

AGAIN_SECONDS = 0.2
"""Between two tries while a service comes up."""


def ask(health: Health, until: float, stop: Optional[Callable[[], bool]] = None) -> Optional[str]:
    """Run the command once: None if it passes, else why not."""
    ended = children.run(list(health.command), min(until, time.time() + health.timeout_seconds), stop=stop)
    if ended.code == 0:
        return None
    if ended.code is None:
        return f"{health.command[0]} did not end within {health.timeout_seconds:g} s"
    return f"{health.command[0]} exited {ended.code}: {ended.last_line[:200]}"


def until_well(health: Optional[Health], until: float, stop: Callable[[], bool]) -> Optional[str]:
    """Ask until it passes; the last reason if it has not by the deadline."""
    if health is None:
        return None
    while True:
        trouble = ask(health, until, stop)
        if trouble is None or stop():
            return trouble
        if time.time() + AGAIN_SECONDS >= until:
            return f"not well by the deadline: {trouble}"
        time.sleep(AGAIN_SECONDS)
