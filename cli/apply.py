"""`./baton apply`: puts a cluster's definition into force, after it was checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.audit import note
from cli.definitions import as_parameter, as_yaml, clashes, in_force, read
from cli.findings import show
from cli.options import refuse_missing
from cli.pausing import why_option
from cli.preflight.gather import gather
from cli.preflight.run import findings, problems
from cli.session import Session, in_stage
from infra.account import Account, Trouble
from infra.names import STAGE_TAG, Names


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check and compare, and change nothing.")
@click.option("--anyway", is_flag=True, help="Put it into force in spite of problems.")
@click.option("--resume", is_flag=True, help="End the cluster's pause, if it is paused.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@why_option
@in_stage
def command(
    session: Session, file: Path, dry_run: bool, anyway: bool, resume: bool, yes: bool, why: str
) -> None:
    """Check a cluster's definition in FILE, show what changes, and put it into force."""
    document: Mapping[str, Any] = read(file)
    account, names, name = session.account, session.names, str(document["name"])
    refuse_missing(account, names)
    others = in_force(account, names)
    document = with_pause(others.get(name), document, resume=resume)
    if document.get("paused"):
        click.echo(f"{name} is paused with this; `./baton resume {name}`, or --resume, ends a pause.")
    difference = compare(others.get(name), document)
    if not difference:
        click.echo(f"{name} is in force as it stands. Nothing to do.")
        return
    refuse_clashes(account, document, others)
    click.echo(difference)
    # The nodes get their configuration from this definition, so they are not asked yet.
    found = findings(gather(account, names, document, ask_nodes=False))
    show(found)
    if problems(found) and not anyway:
        raise Trouble(
            f"{len(problems(found))} problems would stop a hand-over of {name}. Nothing was"
            " changed. Mend them, or repeat with --anyway."
        )
    if dry_run:
        click.echo("Nothing was changed (--dry-run).")
        return
    if not yes and not click.confirm(f"Put this into force for stage {names.stage}?"):
        raise Trouble("Nothing was changed.")
    note(session, name, "changed its definition" if name in others else "defined it", why)
    write(account, names, document)
    click.echo(f"{name} is in force. ./baton check {name} also asks the nodes.")


def with_pause(
    present: Mapping[str, Any] | None, wanted: Mapping[str, Any], *, resume: bool
) -> Mapping[str, Any]:
    """The definition with the pause that is in force, unless the file says itself what holds.

    Whoever paused a cluster relies on it, and who applies a file about something else need not know.
    """
    if resume:
        return {**wanted, "paused": False}
    kept = {"paused": present["paused"]} if present is not None and "paused" in present else {}
    return {**kept, **wanted}


def compare(present: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> str:
    """The difference between two definitions as people read it; empty if there is none."""
    if present == wanted:
        return ""
    lines = difflib.unified_diff(
        as_yaml(present).splitlines() if present else [],
        as_yaml(wanted).splitlines(),
        "in force",
        "new",
        lineterm="",
    )
    return "\n".join(lines)


def refuse_clashes(
    account: Account, document: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> None:
    """A volume, address or node that another cluster has would be torn between the two."""
    everyone = {**others, str(document["name"]): document}
    members = {name: _members(account, definition) for name, definition in everyone.items()}
    found = list(clashes(document, others, members))
    if found:
        raise Trouble(f"{document['name']}: {'; '.join(found)}. Nothing was changed.")


def _members(account: Account, definition: Mapping[str, Any]) -> tuple[str, ...]:
    nodes = definition.get("nodes", [])
    if not isinstance(nodes, Mapping):
        return tuple(str(node["id"]) for node in nodes)
    filters = [{"Name": f"tag:{nodes['tag']}", "Values": [nodes["value"]]}]
    pages = account.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    found = [i for p in pages for r in p["Reservations"] for i in r["Instances"]]
    return tuple(i["InstanceId"] for i in found if i["State"]["Name"] != "terminated")


def write(account: Account, names: Names, document: Mapping[str, Any]) -> None:
    """Put the definition into Parameter Store."""
    ssm = account.client("ssm")
    name = names.definition(str(document["name"]))
    ssm.put_parameter(Name=name, Value=as_parameter(document), Type="String", Overwrite=True)
    tags = [{"Key": STAGE_TAG, "Value": names.stage}]
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=name, Tags=tags)
