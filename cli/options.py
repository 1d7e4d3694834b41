"""What the commands that speak to AWS have in common: options, and how they fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from infra.account import Account, Trouble, code, explained
from infra.names import BadStage, Names

stage_option = click.option(
    "--stage",
    envvar="BATON_STAGE",
    required=True,
    metavar="NAME",
    help="The stage, for example prod; or BATON_STAGE.",
)
region_option = click.option("--region", metavar="NAME", help="AWS region; or AWS_REGION.")
as_json = click.option("--json", "as_json", is_flag=True, help="For programs: JSON on stdout.")


class Failed(click.ClickException):
    """One clear sentence, and an exit status."""

    def __init__(self, trouble: Exception, status: int) -> None:
        super().__init__(str(trouble))
        self.exit_code = status  # type: ignore[misc]  # click declares it for the class

    def show(self, file: Any = None) -> None:
        """In red, and without click's own prefix."""
        click.secho(f"baton: {self.message}", fg="red", err=True, file=file)


@contextmanager
def plainly(status: int = 1) -> Iterator[None]:
    """What goes wrong inside ends the command with one sentence and this status."""
    try:
        with explained():
            yield
    except (Trouble, BadStage) as trouble:
        raise Failed(trouble, status) from trouble


def where(account: Account, names: Names) -> str:
    """Stage, account and region, for messages."""
    return f"stage {names.stage} in account {account.id}, region {account.region}"


def missing(account: Account, names: Names) -> str:
    """What it means if one of the stage's own resources is not there."""
    return (
        f"There is no {where(account, names)}, or it is half made. If region and account are right"
        f" (AWS_REGION, AWS_PROFILE), `./baton deploy --stage {names.stage}` makes or completes it."
    )


def is_there(account: Account, names: Names) -> bool:
    """Whether the stage has its table, without which it has nothing to say."""
    client = account.client("dynamodb")
    try:
        client.describe_table(TableName=names.table)
    except client.exceptions.ClientError as error:
        if code(error) == "ResourceNotFoundException":
            return False
        raise
    return True


def refuse_missing(account: Account, names: Names) -> None:
    """Raises Trouble if the stage is not there: then region or account are wrong, most likely."""
    if not is_there(account, names):
        raise Trouble(f"{missing(account, names)} Nothing was changed.")
