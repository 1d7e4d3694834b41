"""`./baton pause`: see `pausing`."""

from __future__ import annotations

import click

from chalicelib.clusters import CACHE_SECONDS
from cli.pausing import set_paused, why_option
from cli.session import Session, as_json, in_stage, print_json


@click.command()
@click.argument("cluster")
@why_option
@as_json
@in_stage
def command(session: Session, cluster: str, why: str, as_json: bool) -> None:
    """Begin no hand-over of CLUSTER until it is resumed; one that was begun is finished."""
    changed = set_paused(session, cluster, True, why)
    if as_json:
        print_json({"cluster": cluster, "paused": True, "changed": changed})
    elif changed:
        click.echo(f"{cluster} is paused: within {CACHE_SECONDS} s no hand-over begins any more.")
        click.echo(f"./baton resume {cluster} ends the pause.")
    else:
        click.echo(f"{cluster} is paused already; nothing was changed.")
