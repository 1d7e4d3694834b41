"""`./baton status`: who owns each cluster, whether that is settled, and what it waits for."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chalicelib.clusters import BrokenDefinition
from chalicelib.model import Cluster, Record
from chalicelib.record_items import UnreadableRecord
from cli import words
from cli.options import as_json
from cli.picture import NodePicture, Picture, draw
from cli.session import Session, in_stage, print_json

STATUS_BLOCKED: Final = 1
"""Exit status if any cluster is blocked or cannot be read, so that a script can ask."""

POWER: Final = {"running": "green", "pending": "yellow", "stopping": "yellow", "unknown": "dim"}


@click.command()
@click.argument("cluster", required=False)
@as_json
@in_stage
def command(session: Session, cluster: str | None, as_json: bool) -> None:
    """Show every cluster of a stage in one line each, or one CLUSTER in full.

    Exit status 1 if a cluster is blocked.
    """
    pictures, broken = look(session, cluster)
    if as_json:
        print_json({"clusters": [plain(p) for p in pictures], "broken": broken})
    elif cluster and pictures:
        show_one(words.console(), pictures[0], time.time())
    else:
        show_all(words.console(), session, pictures, broken)
    blocked = broken or any(picture.standing == "blocked" for picture in pictures)
    sys.exit(STATUS_BLOCKED if blocked else 0)


def look(session: Session, only: str | None) -> tuple[list[Picture], dict[str, str]]:
    """The pictures of all clusters (or of one), and what is wrong with those that have none."""
    there: dict[str, Cluster | BrokenDefinition] = (
        {only: session.cluster(only)} if only else session.all_clusters()
    )
    broken = {name: str(found) for name, found in there.items() if isinstance(found, BrokenDefinition)}
    sound = {name: found for name, found in there.items() if isinstance(found, Cluster)}
    watched: dict[str, tuple[Cluster, Record]] = {}
    for name, record in session.store.load_many(sound).items():
        if isinstance(record, UnreadableRecord):
            broken[name] = str(record)
        else:
            watched[name] = (sound[name], record)
    seen = session.observe(watched)
    return [draw(cluster, record, seen[name]) for name, (cluster, record) in watched.items()], broken


def plain(picture: Picture) -> dict[str, Any]:
    """A picture for programs."""
    return dataclasses.asdict(picture)


def standing_of(picture: Picture) -> Text:
    """The standing in its colour. A pause shows only where nothing more pressing is the matter."""
    shown = "paused" if picture.paused and picture.standing in ("settled", "new") else picture.standing
    return Text(shown, style=words.STANDING[shown])


def show_all(console: Console, session: Session, pictures: list[Picture], broken: dict[str, str]) -> None:
    """One line for each cluster; those that need somebody come first."""
    if not pictures and not broken:
        console.print(f"No cluster yet in {session.where}: `./baton apply FILE` makes one.")
        return
    now = time.time()
    table = words.table("CLUSTER", "STATE", "EPOCH", "OWNER", "FOR", "WHY", right=("EPOCH", "FOR"))
    for name, text in broken.items():
        table.add_row(name, Text("broken", style=words.STANDING["broken"]), "", "", "", text)
    urgency = list(words.STANDING)[::-1]
    for picture in sorted(pictures, key=lambda p: (urgency.index(p.standing), p.cluster)):
        since = words.age(picture.since, now) if picture.since else ""
        row = (str(picture.epoch), picture.owner or "nobody", since, picture.why)
        table.add_row(picture.cluster, standing_of(picture), *row)
    console.print(table)


def show_one(console: Console, picture: Picture, now: float) -> None:
    """All that is known of one cluster."""
    head = Text.assemble((picture.cluster, "bold"), "  ", standing_of(picture))
    if picture.since:
        head.append(f" for {words.age(picture.since, now)}")
    owner = f"owned by {picture.owner}" if picture.owner else "owned by nobody"
    head.append(f"   epoch {picture.epoch}, {owner}")
    console.print(head)
    _say(console, "why", picture.why)
    _say(console, "cleared by", picture.clears)
    for remark in picture.remarks:
        _say(console, "note", remark)
    if picture.driven_by:
        _say(console, "driven by", picture.driven_by)
    console.print()
    console.print(nodes_table(picture.nodes, now))
    console.print()
    console.print(resources_table(picture))


def _say(console: Console, label: str, text: str) -> None:
    if text:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", width=10, justify="right")
        grid.add_column()
        grid.add_row(label, text)
        console.print(grid)


def nodes_table(nodes: tuple[NodePicture, ...], now: float) -> Table:
    """Each node's last word and its age, and what EC2 says of it."""
    columns = ("NODE", "", "SAYS", "PRIORITY", "HEARD", "SERVES", "AGENT", "EC2", "REMARKS")
    table = words.table(*columns, right=("PRIORITY", "HEARD"))
    for node in nodes:
        heard = words.age(node.said_at, now) + (" ago" if node.said_at else "")
        agent = {None: "", True: "up", False: "down"}[node.agent]
        table.add_row(
            Text(node.node, style="bold" if node.role else ""),
            node.role,
            Text(node.says, style="bold" if node.says == "MASTER" else ""),
            str(node.priority or ""),
            Text(heard, style="" if node.fresh else "yellow"),
            "nothing" if node.serving is None else f"epoch {node.serving}",
            Text(agent, style="red" if node.agent is False else ""),
            Text(node.power, style=POWER.get(node.power, "red")),
            Text("; ".join(node.remarks), style="yellow"),
        )
    return table


def resources_table(picture: Picture) -> Table:
    """Where the volumes and addresses really are, by EC2's word."""
    table = words.table("RESOURCE", "IS AT", "STATE")
    for resource in picture.resources:
        at = resource.at or "nobody"
        table.add_row(resource.name, Text(at, style="" if resource.right else "yellow"), resource.state)
    return table
