"""`./baton history`: a cluster's hand-overs with their timelines, and what people did to it."""

from __future__ import annotations

import dataclasses
from typing import Final

import click
from rich.text import Text

from chalicelib.history import Entry, read_history
from cli import words
from cli.audit import Deed, deeds
from cli.options import as_json
from cli.session import Session, in_stage, print_json

MOST: Final = 20


@click.command()
@click.argument("cluster")
@click.option("--last", default=MOST, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@as_json
@in_stage
def command(session: Session, cluster: str, last: int, as_json: bool) -> None:
    """Show what became of the last epochs of CLUSTER, the newest first, and who did what by hand."""
    session.cluster(cluster)
    entries = read_history(session.client("dynamodb"), session.names.table, cluster, last)
    done = deeds(session, cluster, last)
    if as_json:
        epochs, people = map(dataclasses.asdict, entries), map(dataclasses.asdict, done)
        print_json({"epochs": list(epochs), "people": list(people)})
        return
    show(entries, done)


def show(entries: list[Entry], done: list[Deed]) -> None:
    """Both kinds in one list, by time."""
    console = words.console()
    rows = [(entry.granted_at, row_of(entry)) for entry in entries]
    rows += [(deed.at, row_of_deed(deed)) for deed in done]
    if not rows:
        console.print("Nothing yet: no node has been granted the resources.")
        return
    table = words.table("WHEN", "EPOCH", "OWNER", "TOOK", "BECAUSE", "TIMELINE", right=("EPOCH", "TOOK"))
    for at, row in sorted(rows, key=lambda row: row[0], reverse=True):
        table.add_row(words.clock(at), *row)
    console.print(table)


def row_of(entry: Entry) -> tuple[Text | str, ...]:
    """An epoch in one row."""
    owner = entry.owner or "nobody"
    if entry.previous and entry.previous != entry.owner:
        owner = f"{entry.previous} → {owner}"
    why = Text(entry.because)
    if entry.obstacle:
        why.append(f"; blocked: {entry.obstacle}", style="bold red")
    return str(entry.epoch), owner, took(entry), why, timeline(entry)


def row_of_deed(deed: Deed) -> tuple[Text | str, ...]:
    """A deed in one row: the person stands where the owner would."""
    who = deed.who.rpartition("/")[2]
    return "", Text(who, style="cyan"), "", Text(f"{deed.what}: {deed.why}", style="cyan"), ""


def took(entry: Entry) -> Text | str:
    """From the decision to settled."""
    settled = dict(entry.marks).get("settled")
    if settled is None:
        return Text("not settled", style="yellow")
    return words.span(settled - entry.granted_at)


def timeline(entry: Entry) -> str:
    """Each step with its time since the decision."""
    steps = [(name, at - entry.granted_at) for name, at in entry.marks if name != "granted"]
    return "  ".join(f"{name} +{words.span(after)}" for name, after in steps)
