"""What every operator's command needs: the stage, AWS clients, the records, and who is asking."""

from __future__ import annotations

import getpass
import json
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
from cli.complaints import collected
from cli.options import missing, plainly, refuse_missing, region_option, stage_option, where
from infra.account import Trouble, code, connect
from infra.names import Names

P = ParamSpec("P")

STATUS_TROUBLE: Final = 2
"""Exit status when a command could not do its work; nothing was changed unless it says so."""

ABSENT: Final = frozenset({"ResourceNotFoundException", "InvalidDocument"})
"""What AWS says if a table or a document of the stage is not there."""


class Session:
    """One stage in one account and region, and the person at the keyboard."""

    def __init__(self, stage: str, region: str | None = None) -> None:
        self.names = Names(stage)
        self.account = connect(region)
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
        return where(self.account, self.names)

    @cached_property
    def cloud(self) -> Cloud:
        """EC2 and SSM, as the orchestrator itself uses them."""
        return Cloud(self.client("ec2"), self.client("ssm"), self.names.stage)

    @cached_property
    def clusters(self) -> Clusters:
        """The stage's definitions."""
        return Clusters(self.client("ssm"), self.names.stage, self.cloud.members)

    def all_clusters(self) -> dict[str, Cluster | BrokenDefinition]:
        """Every cluster. Raises Trouble if there is none for want of a stage: the region is wrong."""
        found = self.clusters.all()
        if not found:
            refuse_missing(self.account, self.names)
        return found

    def cluster(self, name: str) -> Cluster:
        """One cluster. Raises Trouble if there is none of that name, or it is broken."""
        try:
            return self.clusters.get(name)
        except BrokenDefinition as error:
            raise Trouble(str(error)) from error
        except UnknownCluster as error:
            known = ", ".join(self.all_clusters())
            there = f"there are: {known}" if known else "there is none yet (`./baton apply FILE` makes one)"
            raise Trouble(f"There is no cluster {name!r} in {self.where}; {there}.") from error

    def observe(self, records: Mapping[str, tuple[Cluster, Record]]) -> dict[str, Observation]:
        """What EC2 shows of these clusters now, in as few calls as the orchestrator makes.

        What it does not show is told on standard error: unknown is not the same as gone.
        """
        with Together() as together, collected() as complaints:
            seen = Observer(self.cloud).observe(records, time.time(), together)
        for complaint in complaints:
            click.secho(f"baton: {complaint}", fg="yellow", err=True)
        return seen


def run(session: Session, work: Callable[[], None]) -> None:
    """Does the work of a command; raises Trouble for what goes wrong with its stage."""
    try:
        try:
            work()
        except GetParameterError as error:  # the library wraps what AWS said
            raise error.__cause__ or error.__context__ or error from error
    except ClientError as error:
        if code(error) in ABSENT:
            raise Trouble(missing(session.account, session.names)) from error
        raise
    except UnreadableRecord as error:
        raise Trouble(str(error)) from error


def in_stage(function: Callable[Concatenate[Session, P], None]) -> Callable[P, None]:
    """Gives a command the option --stage and, as its first argument, its session."""

    @stage_option
    @region_option
    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        stage, region = kwargs.pop("stage"), kwargs.pop("region")
        with plainly(STATUS_TROUBLE):
            session = Session(str(stage), str(region) if region else None)
            run(session, lambda: function(session, *args, **kwargs))

    return command


def print_json(value: object) -> None:
    """A value for programs."""
    click.echo(json.dumps(value, indent=2))
