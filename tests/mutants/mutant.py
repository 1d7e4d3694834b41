"""A guard that is taken out of the shipped source, and who misses it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A guard that is taken out: its name, where, what stands there, what instead, who misses it.

    Who misses it is a story or else a test, as pytest names it.
    """

    guard: str
    file: str
    old: str
    new: str
    story: str = ""
    test: str = ""
