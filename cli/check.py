"""`./baton check`: what would stop a cluster's next hand-over."""

from __future__ import annotations

import sys

import click

from cli.definitions import one_in_force
from cli.deploy import Failed
from cli.findings import as_json, show
from cli.preflight.gather import gather
from cli.preflight.run import findings, problems
from infra.account import Trouble, connect, explained
from infra.names import BadStage, Names

UNKNOWN = 2
"""Exit status when nothing could be found out."""


@click.command()
@click.argument("cluster")
@click.option(
    "--stage",
    envvar="BATON_STAGE",
    required=True,
    metavar="NAME",
    help="The stage, for example prod; or BATON_STAGE.",
)
@click.option("--region", metavar="NAME", help="AWS region; or AWS_REGION.")
@click.option("--no-nodes", is_flag=True, help="Ask AWS only, and not the nodes.")
@click.option("--json", "machine", is_flag=True, help="For programs: JSON on stdout.")
def command(cluster: str, stage: str, region: str | None, no_nodes: bool, machine: bool) -> None:
    """Find what would stop the next hand-over of CLUSTER, with the remedy for each.

    Changes nothing. Exit status 0: nothing found but warnings; 1: problems; 2: could not find out.
    """
    try:
        names = Names(stage)
        account = connect(region)
        with explained():
            document = one_in_force(account, names, cluster)
            facts = gather(account, names, document, ask_nodes=not no_nodes)
    except (Trouble, BadStage) as trouble:
        raise Failed(trouble, UNKNOWN) from trouble
    found = findings(facts)
    if machine:
        click.echo(as_json(cluster, found))
    else:
        show(found)
        click.echo(f"{cluster}: {len(problems(found))} problems, {len(found)} findings in all.")
    sys.exit(1 if problems(found) else 0)
