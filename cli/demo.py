"""`./baton demo`: everything at work on this machine, broken on purpose, judged from the outside."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

SCENARIOS = "planned, manual, crash, hang, partition, return, reboot, double, stuck"
"""Named here too, for importing them takes a second."""


def interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does."""
    raise KeyboardInterrupt


@click.command()
@click.option("--scenario", metavar="NAME", default="", help=f"Play one only: {SCENARIOS}.")
@click.option("--keep", is_flag=True, help="Leave the lab running afterwards, until Ctrl-C.")
@click.option(
    "--break",
    "broken_as",
    type=click.Choice(["S2", "address"]),
    help="Deploy a broken build, which must turn red: volumes taken by force, or no address moved.",
)
def command(scenario: str, keep: bool, broken_as: str | None) -> None:
    """Run the whole system in a lab on this machine, break it on purpose, and judge it.

    Real keepalived, file systems and hosts; AWS is embedded. Ends with status 1 if a guarantee was
    broken or a fault did not occur. Ctrl-C leaves nothing behind. Logs are kept in state/demo.
    """
    signal.signal(signal.SIGTERM, interrupt)
    try:
        # Imported here, for it takes a second, in which Ctrl-C counts as well.
        from lab.demo.run import Wanted, run

        good = run(Wanted(scenario, keep, broken_as or ""))
    except KeyboardInterrupt:
        click.echo("\nInterrupted; nothing is left behind.", err=True)
        sys.exit(130)
    sys.exit(0 if good else 1)
