"""No more mutations a second than EC2 takes, so that throttling does not set the pace. Pure.

EC2 gives each account a bucket per kind of call, some 50 at once and 5 a second for mutations. A
driver that runs into it is answered RequestLimitExceeded, and so is everybody else in the account;
one that stays just below it moves as many clusters as EC2 allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chalicelib.model import Action, Send

BURST: Final = 40
PER_SECOND: Final = 5.0
"""A little is left of the burst for other users of the account."""


class Pace:
    """A bucket of tokens for each kind of action. A kind never used has a full one."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def has_room(self, actions: Iterable[Action], now: float) -> bool:
        """Whether all of these may be sent now."""
        wanted: dict[str, int] = {}
        for action in actions:
            kind = type(action).__name__
            wanted[kind] = wanted.get(kind, 0) + 1
        return all(self._tokens(kind, now) >= count for kind, count in wanted.items())

    def take(self, action: Action, now: float) -> bool:
        """Take a token for the action. False: it has to wait."""
        if isinstance(action, Send):
            return True
        kind = type(action).__name__
        tokens = self._tokens(kind, now)
        if tokens < 1:
            return False
        self._buckets[kind] = (tokens - 1, now)
        return True

    def _tokens(self, kind: str, now: float) -> float:
        tokens, at = self._buckets.get(kind, (float(BURST), now))
        return min(tokens + max(now - at, 0.0) * PER_SECOND, float(BURST))
