"""What a node has to say, and when: pure, no clock, no files, no keepalived.

`Voice` keeps the VRRP state that was last told, and turns each thing that happens into at most one
`Say`. Times are POSIX seconds and come from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Optional

from node_hook import keepalived
from node_hook.keepalived import Line, Told

QUIET_SECONDS = 5.0
"""MASTER_RX_LOWER_PRI repeats with each advert, a second apart or less. After a pause this long it
is a new meeting of two masters, and said again."""

JITTER = 0.15
"""Heartbeats come up to this share early, so that a fleet started at once does not beat at once."""


@dataclass(frozen=True)
class Standing:
    """The VRRP state of this node, since when, and why if that is not obvious."""

    state: str
    priority: int
    since: float
    reason: str = ""


@dataclass(frozen=True)
class Say:
    """A word to be said: its kind, and the standing that it tells."""

    kind: str
    standing: Standing


class Voice:
    """One VRRP instance's voice."""

    def __init__(self, instance: str, standing: Standing) -> None:
        self.instance = instance
        self.standing = standing
        self._met_at = float("-inf")

    def line(self, line: Line, now: float) -> Optional[Say]:
        """A line of the FIFO. Lines of groups and of other instances say nothing here."""
        if line.kind != "INSTANCE" or line.name != self.instance or line.state in keepalived.SILENT:
            return None
        if line.state == keepalived.MASTER_RX_LOWER_PRI:
            return self._meet(line, now)
        reason = "the instance was taken out of keepalived" if line.state == "DELETED" else ""
        return self._move(keepalived.STATES[line.state], line.priority, reason, now)

    def told(self, told: Told, now: float) -> Optional[Say]:
        """What keepalived answered; it is said if it is not what was said last (a line was lost)."""
        if told.state == self.standing.state:
            return None
        return self._move(told.state, told.priority, "keepalived was asked", now)

    def vanished(self, reason: str, now: float) -> Optional[Say]:
        """keepalived is gone. Said unless its own last line was STOP."""
        if self.standing.state == "STOP":
            return None
        return self._move("STOP", self.standing.priority, reason, now)

    def again(self, kind: str) -> Say:
        """The present state once more: a heartbeat, a start, a change of something else."""
        return Say(kind, self.standing)

    def _move(self, state: str, priority: int, reason: str, now: float) -> Say:
        self._met_at = float("-inf")
        since = self.standing.since if state == self.standing.state else now
        self.standing = Standing(state, priority, since, reason)
        return Say("transition", self.standing)

    def _meet(self, line: Line, now: float) -> Optional[Say]:
        """A master of lower priority was heard: the first time, this node says MASTER again."""
        met_before, self._met_at = self._met_at, now
        if self.standing.state != "MASTER":
            self._move("MASTER", line.priority, "", now)
            self._met_at = now
        elif now - met_before < QUIET_SECONDS:
            return None
        return Say("transition", replace(self.standing, reason="another master was heard"))


def next_beat(now: float, every_seconds: float, random: Callable[[], float]) -> float:
    """When the next heartbeat is due."""
    return now + every_seconds * (1 - JITTER * random())
