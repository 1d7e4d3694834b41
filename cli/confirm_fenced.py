"""`./baton confirm-fenced`: a person vouches for a node being off when Baton cannot find out."""

from __future__ import annotations

import time

import click

from chalicelib.clusters import BrokenDefinition
from chalicelib.model import Power
from cli import words
from cli.audit import confirm_fenced
from cli.options import as_json
from cli.pausing import why_option
from cli.picture import draw
from cli.session import Session, in_stage, print_json
from infra.account import Trouble


@click.command()
@click.argument("node")
@why_option
@as_json
@in_stage
def command(session: Session, node: str, why: str, as_json: bool) -> None:
    """Say that NODE is off and stays off, so that its volumes may be taken from it.

    If it is not off, two nodes write to one volume and its data is lost: look at the EC2 console,
    not at monitoring. The node's id has to be typed again.
    """
    name = cluster_of(session, node)
    cluster, record = session.cluster(name), session.store.load(name)
    seen = session.observe({name: (cluster, record)})[name]
    (shown,) = (one for one in draw(cluster, record, seen).nodes if one.node == node)
    if record.obstacle is None:
        raise Trouble(f"{name} is not blocked: there is nothing that waits for {node} being off.")
    if seen.power(node) is Power.RUNNING:
        raise Trouble(
            f"EC2 says that {node} is running, so it is not off: `aws ec2 stop-instances --force"
            f" --instance-ids {node}` first. Nothing was changed."
        )
    heard = f"{words.age(shown.said_at, time.time())} ago" if shown.said_at else "never"
    click.echo(f"{name} is blocked: {record.obstacle.text}", err=True)
    click.echo(f"{node}: EC2 says {shown.power}; last heard {heard}, saying {shown.says}.", err=True)
    if _typed("Type its id to confirm that it is off") != node:
        raise Trouble("That is not its id; nothing was changed.")
    confirm_fenced(session, name, node, record.epoch, why)
    if as_json:
        print_json({"cluster": name, "node": node, "epoch": record.epoch, "confirmed": True})
    else:
        click.echo(f"Recorded for epoch {record.epoch}. The hand-over goes on within a minute:")
        click.echo(f"./baton status {name}")


def _typed(question: str) -> str:
    try:
        return str(click.prompt(question, default="", show_default=False, err=True))
    except click.Abort:
        return ""


def cluster_of(session: Session, node: str) -> str:
    """The cluster that this node is a member of."""
    found = session.all_clusters()
    for name, cluster in found.items():
        if not isinstance(cluster, BrokenDefinition) and node in cluster.nodes:
            return name
    known = ", ".join(found) or "none"
    raise Trouble(f"No cluster in {session.where} has a node {node!r}; the clusters are: {known}.")
