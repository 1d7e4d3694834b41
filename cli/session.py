"""What every operator's command needs: the stage, AWS clients, the records, and who is asking."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, wraps
from typing import Any, Concatenate, Final, ParamSpec

import click
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws import Cloud
from chalicelib.aws_observe import Observer
from chalicelib.clusters import BrokenDefinition, Clusters, UnknownCluster
from chalicelib.model import Cluster, Observation, Record
from chalicelib.record_items import UnreadableRecord
from chalicelib.store import Store
from chalicelib.together import Together
from infra.account import Trouble, code, connect, explained
from infra.names import BadStage, Names

P = ParamSpec("P")

STATUS_TROUBLE: Final = 2
"""Exit status when a command could not do its work; nothing was changed unless it says so."""

ABSENT: Final = frozenset({"ResourceNotFoundException", "InvalidDocument"})
"""What AWS says if a table or a document of the stage is not there."""


class Session:
    """One stage in one account and region, and the person at the keyboard."""

    def __init__(self, stage: str) -> None:
        try:
            self.names = Names(stage)
        except BadStage as error:
            raise Trouble(str(error)) from error
        self.account = connect()
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The client of a service, made once."""
        if service not in self._clients:
            self._clients[service] = self.account.client(service)
        return self._clients[service]

    @cached_property
    def store(self) -> Store:
        """The stage's records."""
        return Store(self.client("dynamodb"), self.names.table)

    @cached_property
    def who(self) -> str:
        """The person, as the audit names them: the AWS identity, or the login if AWS is silent."""
        with suppress(BotoCoreError, ClientError):
            return str(self.client("sts").get_caller_identity()["Arn"])
        return getpass.getuser()

    @property
    def where(self) -> str:
        """Stage, account and region, for messages."""
        return f"stage {self.names.stage} in account {self.account.id}, region {self.account.region}"

    @cached_property
    def cloud(self) -> Cloud:
        """EC2 and SSM, as the orchestrator itself uses them."""
        return Cloud(self.client("ec2"), self.client("ssm"), self.names.stage)

    @cached_property
    def clusters(self) -> Clusters:
        """The stage's definitions."""
        return Clusters(self.client("ssm"), self.names.stage, self.cloud.members)

    def cluster(self, name: str) -> Cluster:
        """One cluster. Raises Trouble if there is none of that name, or it is broken."""
        try:
            return self.clusters.get(name)
        except BrokenDefinition as error:
            raise Trouble(str(error)) from error
        except UnknownCluster as error:
            known = ", ".join(self.clusters.all())
            there = f"there are: {known}" if known else "there is none yet (`./baton apply FILE` makes one)"
            raise Trouble(f"There is no cluster {name!r} in {self.where}; {there}.") from error

    def observe(self, records: Mapping[str, tuple[Cluster, Record]]) -> dict[str, Observation]:
        """What EC2 shows of these clusters now, in as few calls as the orchestrator makes."""
        with Together() as together:
            return Observer(self.cloud).observe(records, time.time(), together)

    def missing(self) -> str:
        """What it means if one of the stage's own resources is not there."""
        return (
            f"There is no {self.where}, or it is half made. If region and account are right"
            f" (AWS_REGION, AWS_PROFILE), `./baton deploy --stage {self.names.stage}` makes or completes it."
        )


def run_plainly(work: Callable[[], None], missing: Callable[[], str]) -> None:
    """Does the work of a command; what goes wrong with AWS ends it with one sentence."""
    try:
        with explained():
            _run(work, missing)
    except Trouble as error:
        click.secho(f"baton: {error}", fg="red", err=True)
        sys.exit(STATUS_TROUBLE)


def _run(work: Callable[[], None], missing: Callable[[], str]) -> None:
    try:
        try:
            work()
        except GetParameterError as error:  # the library wraps what AWS said
            raise error.__cause__ or error from error
    except ClientError as error:
        if code(error) in ABSENT:
            raise Trouble(missing()) from error
        raise
    except UnreadableRecord as error:
        raise Trouble(str(error)) from error


def in_stage(function: Callable[Concatenate[Session, P], None]) -> Callable[P, None]:
    """Gives a command the option --stage and, as its first argument, its session."""

    @click.option(
        "--stage",
        envvar="BATON_STAGE",
        required=True,
        metavar="NAME",
        help="The stage, for example prod; or BATON_STAGE.",
    )
    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        stage = str(kwargs.pop("stage"))
        opened: list[Session] = []

        def work() -> None:
            opened.append(Session(stage))
            function(opened[0], *args, **kwargs)

        run_plainly(work, lambda: opened[0].missing())

    return command


as_json = click.option("--json", "as_json", is_flag=True, help="For programs: JSON on stdout.")


def print_json(value: object) -> None:
    """A value for programs."""
    click.echo(json.dumps(value, indent=2))
