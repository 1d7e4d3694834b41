"""`./baton resume`: see `pausing`."""

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
    """End the pause of CLUSTER: what keepalived decided meanwhile is followed."""
    changed = set_paused(session, cluster, False, why)
    if as_json:
        print_json({"cluster": cluster, "paused": False, "changed": changed})
    elif changed:
        click.echo(f"{cluster} is resumed: within {CACHE_SECONDS} s Baton follows keepalived again.")
    else:
        click.echo(f"{cluster} is not paused; nothing was changed.")
