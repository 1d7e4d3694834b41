"""How the operator's commands look: colours, ages, tables. Plain text where there is no terminal."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.table import Table

STANDING: Final[dict[str, str]] = {
    "settled": "green",
    "moving": "yellow",
    "contested": "yellow",
    "blocked": "bold red",
    "broken": "bold red",
    "paused": "cyan",
    "new": "dim",
}


def console() -> Console:
    """Where the commands write. Wide when piped, so that no column is cut for a program."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=160)


def age(since: float | None, now: float) -> str:
    """How long ago, as a person says it."""
    if since is None:
        return "never"
    seconds = now - since
    if seconds < -1:
        return f"{span(-seconds)} ahead"
    return span(max(0.0, seconds))


def span(seconds: float) -> str:
    """A length of time in one unit, or in two where the first says too little."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def clock(moment: float) -> str:
    """A moment in local time, with its zone: logs of other machines may use another."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(moment))


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines, its head in grey."""
    made = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        # The one column that may be long folds at words; ids and ages never do.
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column not in FOLDED)
    return made


FOLDED: Final = frozenset({"WHY", "REMARKS", "BECAUSE", "TIMELINE"})
