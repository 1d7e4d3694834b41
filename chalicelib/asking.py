"""When a command counts as sent, is sent again, and counts as unanswered. Pure."""

from __future__ import annotations

from chalicelib import timing
from chalicelib.model import Asked, Outcome

DOUBLINGS_MOST = 16
"""More would change nothing: even one second has passed the cap by then. And a float can hold no
more than 1,023: tries go on for days, and a node that is mute for four must not stop the others."""


def backoff(tries: int, first: float = timing.RETRY_SECONDS) -> float:
    """Seconds to wait after so many tries: doubling, capped at five minutes."""
    doublings = min(max(tries - 1, 0), DOUBLINGS_MOST)
    return min(first * 2.0**doublings, timing.RETRY_MOST_SECONDS)


def was_sent(asked: Asked) -> bool:
    """Whether a command surely went out, or was tried often enough to be taken as lost.

    An unknown outcome is no proof that the node was ever asked: it is sent again first.
    """
    if asked.outcome in (Outcome.DONE, Outcome.REFUSED):
        return True
    return asked.outcome is not Outcome.NOT_YET and asked.tries >= timing.TRIES_MOST


def resend_at(asked: Asked) -> float | None:
    """When a command that may not have gone out is sent again; None if it did go out."""
    if was_sent(asked):
        return None
    if asked.outcome is Outcome.NOT_YET:
        return asked.at + backoff(asked.tries, timing.NOT_YET_SECONDS)
    return asked.at + timing.CALL_SECONDS


def is_unanswered(asked: Asked, now: float) -> bool:
    """Whether a command that was sent has passed its deadline without an answer.

    SSM that refuses a command says so at once: the node has no agent that could answer.
    """
    if not was_sent(asked) or asked.answer is not None:
        return False
    return asked.outcome is Outcome.REFUSED or now >= asked.command.deadline
