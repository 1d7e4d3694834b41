"""`./baton destroy`: removes a stage; the data volumes, addresses and instances stay."""

from __future__ import annotations

import click

from cli.deploy import refuse_elsewhere
from cli.options import is_there, plainly, region_option, stage_option, where
from infra.account import Account, Trouble, connect
from infra.functions import CHECKOUT, Functions
from infra.names import Names
from infra.stack import SupportStack


@click.command()
@stage_option
@region_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(stage: str, region: str | None, yes: bool) -> None:
    """Remove a stage from AWS. Data volumes, addresses and instances stay as they are.

    The nodes keep what they hold, but nobody moves it any more when one fails.
    """
    with plainly():
        names = Names(stage)
        account = connect(region)
        refuse_elsewhere(account, names)
        clusters = definitions(account, names)
        refuse_nothing(account, names, clusters)
        ask(account, names, clusters, yes)
        remove(account, names, clusters)
    (CHECKOUT / "state" / "deploy" / f"{stage}.json").unlink(missing_ok=True)
    click.echo("Removed. Volumes, addresses and instances are as they were, tags included.")


def refuse_nothing(account: Account, names: Names, clusters: list[str]) -> None:
    """Where nothing of a stage is, region or account are wrong. Roles are the same in every region:
    to remove them by name here would stop the stage there."""
    stack = SupportStack(account, names)
    functions = Functions(account, names, stack.outputs)
    if not (clusters or is_there(account, names) or stack.exists() or functions.exist()):
        raise Trouble(
            f"There is nothing of {where(account, names)}. Nothing was changed. Check AWS_REGION and"
            " AWS_PROFILE."
        )


def definitions(account: Account, names: Names) -> list[str]:
    """The parameters that hold the stage's cluster definitions."""
    pages = account.client("ssm").get_paginator("get_parameters_by_path")
    found = pages.paginate(Path=names.definitions, Recursive=True)
    return [parameter["Name"] for page in found for parameter in page["Parameters"]]


def ask(account: Account, names: Names, clusters: list[str], yes: bool) -> None:
    """Say what goes, and have the stage's name typed."""
    click.echo(f"Stage {names.stage} in account {account.id}, {account.region}:")
    click.echo("  functions, roles, rules, tables with all history, documents, alarms go;")
    for cluster in clusters:
        click.echo(f"  the definition {cluster} goes, and its fail-over ends;")
    click.echo("  data volumes, addresses and instances stay.")
    if yes:
        return
    typed = click.prompt("Type the stage's name to go on", default="", show_default=False)
    if typed != names.stage:
        raise Trouble("That is not the stage's name. Nothing was changed.")


def remove(account: Account, names: Names, clusters: list[str]) -> None:
    """Functions first, so that nothing acts on a half-removed stage."""
    stack = SupportStack(account, names)
    Functions(account, names, stack.outputs).remove(click.echo)
    for cluster in clusters:
        account.client("ssm").delete_parameter(Name=cluster)
        click.echo(f"      {cluster}: removed")
    if stack.exists():
        stack.remove(click.echo)
        click.echo(f"      {names.stack}: removed")
