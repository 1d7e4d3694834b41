"""`./baton chaos`: random faults against the lab, with the guarantees judged from the outside."""

from __future__ import annotations

import signal
import sys
from secrets import randbelow

import click

from cli.demo import interrupt


@click.command()
@click.option("--faults", default=10, show_default=True, type=click.IntRange(1), help="How many occur.")
@click.option("--seed", type=click.IntRange(0), help="Decides kinds and targets; random if not given.")
def command(faults: int, seed: int | None) -> None:
    """Play random faults against real hosts, keepalived and file systems.

    Partitions, kills, freezes, reboots, lost hosts, throttling, lost events, slow and dead agents.
    Ends with status 1 if a guarantee was broken. Ctrl-C leaves nothing behind.
    """
    signal.signal(signal.SIGTERM, interrupt)
    try:
        from lab.demo.run import run_chaos

        good = run_chaos(faults, randbelow(10_000) if seed is None else seed)
    except KeyboardInterrupt:
        click.echo("\nInterrupted; nothing is left behind.", err=True)
        sys.exit(130)
    sys.exit(0 if good else 1)
