"""The hybrid logical clock that puts a node's words in order.

A sequence is milliseconds of wall clock, except that it always grows: max(last + 1, now). So it
orders the words of one node even if its clock is stepped back (the last one is on disk), it starts
above every earlier one after the disk was lost (the wall clock has moved on), and it still tells
roughly when a word was said. The spool is its memory: the last word in it holds the last sequence.

Not guaranteed: a node that loses its disk *and* steps its clock back. Its words count as old until
the wall clock has caught up.
"""

from __future__ import annotations

AHEAD_SECONDS = 300
"""Further ahead than this is worth a log line; the orchestrator raises its alarm there too."""

AHEAD_TEXT = (
    "the last word is dated %.0f s ahead of this clock, which was or is wrong: words "
    "go on from there, and are alarmed until the clock has caught up"
)
"""That line, for `logging`."""


def after(last: int, now: float) -> int:
    """The sequence of a word said at `now` (POSIX seconds) after the word numbered `last`."""
    return max(last + 1, int(now * 1000))


def ahead(last: int, now: float) -> float:
    """Seconds by which the sequence runs ahead of the wall clock, 0 if it does not."""
    return max(0.0, last / 1000 - now)
