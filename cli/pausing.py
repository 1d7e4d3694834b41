"""The pause of a cluster: a change of its definition that needs no file."""

from __future__ import annotations

import json

import click

from cli.audit import note
from cli.options import as_json
from cli.session import Session, in_stage, print_json

why_option = click.option("--why", default="no reason given", help="The reason, for the record.")


def make_command(paused: bool, text: str, changed: str, unchanged: str) -> click.Command:
    """The command that begins or ends a pause. What it says may name the `{cluster}`."""

    @click.command(help=text)
    @click.argument("cluster")
    @why_option
    @as_json
    @in_stage
    def command(session: Session, cluster: str, why: str, as_json: bool) -> None:
        is_new = set_paused(session, cluster, paused, why)
        if as_json:
            print_json({"cluster": cluster, "paused": paused, "changed": is_new})
        else:
            click.echo((changed if is_new else unchanged).format(cluster=cluster))

    return command


def set_paused(session: Session, cluster: str, paused: bool, why: str) -> bool:
    """Pauses a cluster or ends its pause, audited. False: it was so already."""
    session.cluster(cluster)
    name = session.names.definition(cluster)
    ssm = session.client("ssm")
    definition = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    if bool(definition.get("paused", False)) is paused:
        return False
    note(session, cluster, "paused it" if paused else "resumed it", why)
    definition["paused"] = paused
    ssm.put_parameter(Name=name, Value=json.dumps(definition, indent=1), Type="String", Overwrite=True)
    return True
