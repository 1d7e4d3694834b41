"""`baton trace FILE`: tell a story with the real core's decisions, so that one can ask "what if"."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

STYLES = (("> =", "bold cyan"), ("> BROKEN", "bold red"), ("> Baton", "green"), (">", "dim"))


@click.command(short_help="Tell a story with the decisions that the core takes.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(file: Path) -> None:
    """Tell the story in FILE, with the decisions that the real core takes in it.

    Stories are in tests/traces. Copy one, change what happens, and see what Baton would do: the
    lines that begin with `>` are what follows and are made anew.
    """
    from tests.simulation.story import BadStory, tell

    try:
        told = tell(file.read_text())
    except BadStory as bad:
        raise click.ClickException(f"{file}: {bad}. tests/simulation/story.py lists the lines.") from bad
    console = Console(highlight=False, soft_wrap=True)
    for line in told.splitlines():
        console.print(_styled(line))
    if "> BROKEN" in told:
        raise SystemExit(1)


def _styled(line: str) -> Text:
    if line.startswith("#"):
        return Text(line, style="italic yellow")
    style = next((style for start, style in STYLES if line.startswith(start)), "bold")
    return Text(f"    {line[2:]}" if line.startswith(">") else line, style=style)
