"""What the publisher's main loop hears of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from node_hook.keepalived import Process


@dataclass(frozen=True)
class Heard:
    """A line of the FIFO, and when it was read."""

    text: str
    at: float


@dataclass(frozen=True)
class Woken:
    """Another process of Baton appended a word to the spool."""


@dataclass(frozen=True)
class Gone:
    """keepalived's main process ended. Lines that it had written come before this."""

    process: Process


@dataclass(frozen=True)
class Agent:
    """The SSM agent went, or came back."""

    up: bool


@dataclass(frozen=True)
class Stop:
    """Stop, as a signal asked."""


Event = Union[Heard, Woken, Gone, Agent, Stop]
