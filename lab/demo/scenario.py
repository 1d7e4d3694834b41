"""What a scenario is: a story, and a function that plays it and proves that its fault occurred."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from lab.demo.lab import Lab
from lab.demo.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Played:
    """What was played: when the fault began, whose the resources were, and what proves it."""

    fault_at: float
    old: str
    proofs: tuple[str, ...]
    expected: tuple[Verdict, ...] = ()
    """What this story promises beside the guarantees, judged by what was seen."""


Play: TypeAlias = Callable[[Lab], Played]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story. `play` ends once the fault is over; it raises NoFault if it did not occur."""

    name: str
    story: str
    play: Play
