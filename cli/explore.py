"""`baton explore [SCOPE]`: explore named scopes to their end."""

from __future__ import annotations

import gc

import click


@click.command(short_help="Explore named scopes to their end: every interleaving.")
@click.argument("names", nargs=-1, metavar="[SCOPE]...")
@click.option("--list", "listing", is_flag=True, help="Only list the scopes.")
def command(names: tuple[str, ...], listing: bool) -> None:
    """Explore SCOPEs (all that CI explores, if none is named): every interleaving, every guarantee.

    A broken guarantee comes with a shortest story that leads to it, and exit status 1.
    """
    from tests.simulation.explore import explore
    from tests.simulation.scopes import CI, SCOPES

    unknown = [name for name in names if name not in SCOPES]
    if unknown:
        raise click.ClickException(f"there is no scope {unknown[0]!r}; --list shows them")
    if listing:
        for scope in SCOPES.values():
            click.echo(f"{scope.name:44} {scope.script}")
        return
    gc.disable()  # nothing is freed while a scope is explored, and looking for it takes a third
    broken = False
    for scope in [SCOPES[name] for name in names] or CI:
        found = explore(scope)
        click.echo(found.line())
        for label in found.trace:
            click.echo(f"    {label}")
        broken |= found.broken is not None
    if broken:
        raise SystemExit(1)
