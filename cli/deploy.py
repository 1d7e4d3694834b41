"""`./baton deploy`: support stack, functions, wiring; as often as one likes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli.options import plainly, region_option, stage_option
from infra import forgery
from infra.account import Account, Trouble, connect
from infra.functions import CHECKOUT, Functions
from infra.names import Names
from infra.stack import SupportStack
from infra.steps import Step, walk
from infra.wiring import Wiring


def steps(account: Account, names: Names, parameters: dict[str, str]) -> list[Step]:
    """A deployment's parts, each depending on those before it."""
    stack = SupportStack(account, names, parameters)
    functions = Functions(account, names, stack.outputs)
    return [stack, functions, Wiring(account, names, stack.outputs)]


@click.command()
@stage_option
@region_option
@click.option("--account", "expected", help="Refuse to work in any other AWS account.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--alarm-email", help="Where alarms are mailed.")
@click.option("--objective-seconds", type=int, help="A slower fail-over raises an alarm.")
def command(
    stage: str,
    region: str | None,
    expected: str | None,
    dry_run: bool,
    alarm_email: str | None,
    objective_seconds: int | None,
) -> None:
    """Put a stage on AWS, or bring it up to date.

    Runs as often as you like: it compares first and changes only what differs. One that broke off
    is resumed by running it again. In the end it tries to speak in a node's name, which AWS has to
    refuse.
    """
    given = {"AlarmEmail": alarm_email, "ObjectiveSeconds": objective_seconds}
    parameters = {name: str(value) for name, value in given.items() if value is not None}
    with plainly():
        names = Names(stage)
        account = connect(region, expected)
        refuse_elsewhere(account, names)
        click.echo(f"Stage {stage} in account {account.id}, {account.region}")
        carry_out(account, names, steps(account, names, parameters), dry_run=dry_run)


def carry_out(account: Account, names: Names, parts: list[Step], *, dry_run: bool) -> None:
    """Deploy the parts, and see that nobody can speak in a node's name."""
    changed = walk(parts, click.echo, dry_run=dry_run)
    if dry_run:
        click.echo("Nothing was changed (--dry-run).")
        return
    remember(account, names)
    click.echo(forgery.try_it(account, names))
    click.echo("Deployed." if changed else "Nothing to do: everything is up to date.")


def refuse_elsewhere(account: Account, names: Names, state: Path | None = None) -> None:
    """A stage deployed from here before is not deployed to another account by mistake."""
    file = _memory(names, state)
    if not file.exists():
        return
    was = json.loads(file.read_text(encoding="utf-8"))
    now = {"account": account.id, "region": account.region}
    if was != now:
        raise Trouble(
            f"Stage {names.stage} was deployed from here to account {was['account']},"
            f" {was['region']}, and this is account {account.id}, {account.region}."
            f" Nothing was changed. If that is meant, delete {file} and repeat."
        )


def remember(account: Account, names: Names, state: Path | None = None) -> None:
    """Note where a stage was deployed to."""
    file = _memory(names, state)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"account": account.id, "region": account.region}) + "\n")


def _memory(names: Names, state: Path | None) -> Path:
    return (state or CHECKOUT / "state" / "deploy") / f"{names.stage}.json"
