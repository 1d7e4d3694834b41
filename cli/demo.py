"""`./baton demo`: everything at work on this machine, broken on purpose, judged from the outside."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

from lab.demo.run import BREAKS, NAMES, Wanted, run


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option("--scenario", type=click.Choice(NAMES), help="Play this one only.")
@click.option("--keep", is_flag=True, help="Leave the lab running afterwards, until Ctrl-C.")
@click.option(
    "--break", "broken_as", type=click.Choice(sorted(BREAKS)), help="Deploy a broken build; it must turn red."
)
def command(scenario: str | None, keep: bool, broken_as: str | None) -> None:
    """Run the whole system in a lab on this machine, break it on purpose, and judge it.

    Real keepalived, file systems and hosts; AWS is embedded. Ends with status 1 if a guarantee was
    broken or a fault did not occur. Ctrl-C leaves nothing behind.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        good = run(Wanted(scenario or "", keep, broken_as or ""))
    except KeyboardInterrupt:
        click.echo("\nInterrupted; nothing is left behind.", err=True)
        sys.exit(130)
    sys.exit(0 if good else 1)
