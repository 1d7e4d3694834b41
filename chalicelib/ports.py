"""What a driver touches outside itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chalicelib.aws import Cloud
from chalicelib.aws_observe import Observer
from chalicelib.fences import Fences
from chalicelib.store import Store
from chalicelib.telling import Teller


class Clock(Protocol):
    """Where time comes from; POSIX seconds."""

    def now(self) -> float:
        """This moment."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """This moment."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside that a driver touches."""

    store: Store
    cloud: Cloud
    observer: Observer
    fences: Fences
    teller: Teller
    clock: Clock
    count: Callable[[str], None]
