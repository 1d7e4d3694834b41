"""`./baton check`: what would stop a cluster's next hand-over."""

from __future__ import annotations

import sys

import click

from cli.definitions import one_in_force
from cli.findings import show, to_json
from cli.options import as_json, plainly, refuse_missing, region_option, stage_option
from cli.preflight.gather import gather
from cli.preflight.run import findings, problems
from infra.account import connect
from infra.names import Names

UNKNOWN = 2
"""Exit status when nothing could be found out."""


@click.command()
@click.argument("cluster")
@stage_option
@region_option
@click.option("--no-nodes", is_flag=True, help="Ask AWS only, and not the nodes.")
@as_json
def command(cluster: str, stage: str, region: str | None, no_nodes: bool, as_json: bool) -> None:
    """Find what would stop the next hand-over of CLUSTER, with the remedy for each.

    Changes nothing. Exit status 0: nothing found but warnings; 1: problems; 2: could not find out.
    """
    with plainly(UNKNOWN):
        names = Names(stage)
        account = connect(region)
        refuse_missing(account, names)
        document = one_in_force(account, names, cluster)
        facts = gather(account, names, document, ask_nodes=not no_nodes)
    found = findings(facts)
    if as_json:
        click.echo(to_json(cluster, found))
    else:
        show(found)
        click.echo(f"{cluster}: {len(problems(found))} problems, {len(found)} findings in all.")
    sys.exit(1 if problems(found) else 0)
