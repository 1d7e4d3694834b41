"""A deployment is a list of steps. Each compares what is with what should be, and closes the gap.

So a deployment that broke off is resumed by running it again, a second one changes nothing, and
`--dry-run` is the same walk without the closing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

Say: TypeAlias = Callable[[str], None]


class Step(Protocol):
    """One part of a deployment."""

    @property
    def title(self) -> str:
        """What the step is about."""

    def changes(self) -> list[str]:
        """What carrying it out would change, one line each; it changes nothing itself."""

    def carry_out(self, say: Say) -> None:
        """Make the changes; `say` takes lines of progress."""


def walk(steps: Sequence[Step], say: Say, *, dry_run: bool = False) -> int:
    """Carry out what has changes, in order; how many steps had any."""
    changed = 0
    for number, step in enumerate(steps, 1):
        changes = step.changes()
        state = f"{len(changes)} to do" if changes else "nothing to do"
        say(f"[{number}/{len(steps)}] {step.title}: {state}")
        for change in changes:
            say(f"      {change}")
        changed += bool(changes)
        if changes and not dry_run:
            step.carry_out(say)
    return changed
