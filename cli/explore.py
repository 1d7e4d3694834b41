"""`baton explore [SCOPE]`: explore named scopes to their end."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tests.simulation.explore import Found

PROGRESS_SECONDS = 10.0
"""How often a long exploration says how far it is."""


@click.command(short_help="Explore named scopes to their end: every interleaving.")
@click.argument("names", nargs=-1, metavar="[SCOPE]...")
@click.option("--list", "listing", is_flag=True, help="Only list the scopes.")
def command(names: tuple[str, ...], listing: bool) -> None:
    """Explore SCOPEs (all that CI explores, if none is named): every interleaving, every guarantee.

    A broken guarantee comes with a shortest story that leads to it, and exit status 1.
    """
    from tests.simulation.explore import explore
    from tests.simulation.pool import forget
    from tests.simulation.scopes import CI, SCOPES

    unknown = [name for name in names if name not in SCOPES]
    if unknown:
        raise click.ClickException(f"there is no scope {unknown[0]!r}; --list shows them")
    if listing:
        for scope in SCOPES.values():
            click.echo(f"{scope.name:32} {scope.script:42} {scope.left.text()}".rstrip())
        return
    gc.disable()  # nothing is freed while a scope is explored, and looking for it takes a third
    broken = False
    for scope in [SCOPES[name] for name in names] or CI:
        forget()
        found = explore(scope, report=_progress())
        click.echo(found.line())
        for label in found.trace:
            click.echo(f"    {label}")
        broken |= found.broken is not None
    if broken:
        raise SystemExit(1)


def _progress() -> Callable[[Found, int], None]:
    """Says now and then how far an exploration is; nobody knows how far it has to go."""
    told = time.monotonic()

    def report(found: Found, waiting: int) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            click.echo(
                f"{found.scope}: {found.states:,} states, {waiting:,} of them not yet looked at, "
                f"{found.seconds:.0f} s",
                err=True,
            )

    return report
