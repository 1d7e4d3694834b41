"""Bad input and bad circumstances: one clear sentence, exit status 2, and nothing changed."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from click.testing import CliRunner, Result

from cli.main import baton
from cli.options import Failed, plainly
from cli.session import Session
from cli.session import run as session_run
from tests.cli.conftest import REGION, Stage


def run(*arguments: str, **environment: str | None) -> Result:
    """A command with this environment."""
    return CliRunner().invoke(baton, list(arguments), env={"BATON_STAGE": "prod", **environment})


def is_one_sentence(result: Result) -> bool:
    """Whether the person is told on stderr, without a traceback, and programs by the status."""
    return result.exit_code == 2 and result.stdout == "" and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("stage", ["Prod", "prod/../x", "-prod", "a" * 17, "pröd", "prod;ls", " "])
def test_odd_stage_names(account: None, stage: str) -> None:
    """Refused before AWS is asked anything."""
    result = run("status", BATON_STAGE=stage)
    assert is_one_sentence(result)
    assert "cannot be a stage name" in result.stderr


def test_a_stage_that_is_not_there(account: None) -> None:
    """The sentence names stage, account and region, and how to make it."""
    result = run("pause", "orders")
    assert is_one_sentence(result)
    for part in ("stage prod", "account 123456789012", REGION):
        assert part in result.stderr


def test_a_half_made_stage(stage: Stage) -> None:
    """A definition is there, its table is not."""
    boto3.client("dynamodb", REGION).delete_table(TableName=stage.names.table)
    result = stage.run("status")
    assert is_one_sentence(result)
    assert "half made" in result.stderr and "./baton deploy --stage" in result.stderr


def test_no_region(account: None) -> None:
    """Says which variable to set."""
    result = run("status", AWS_DEFAULT_REGION=None, AWS_REGION=None)
    assert is_one_sentence(result)
    assert "AWS_REGION" in result.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredTokenException", "have expired"),
        ("UnrecognizedClientException", "does not know these credentials"),
        ("AccessDeniedException", "may not do"),
        ("ResourceNotFoundException", "or it is half made"),
        ("InvalidDocument", "or it is half made"),
    ],
)
def test_what_aws_refuses(account: None, code: str, said: str) -> None:
    """Each refusal becomes one sentence that says what to do."""
    session = Session("prod")
    client = session.client("dynamodb")
    with Stubber(client) as stub, pytest.raises(Failed) as ended, plainly(2):
        stub.add_client_error("batch_get_item", code, "the words of AWS", 400)
        session_run(session, lambda: void(session.store.load("orders")))
    assert ended.value.exit_code == 2
    assert said in ended.value.message


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException", "ThrottlingException"])
@pytest.mark.parametrize("words", [("status",), ("status", "orders"), ("history", "orders")])
def test_definitions_that_aws_does_not_give(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: str
) -> None:
    """The library through which they are read wraps what AWS said; a person is told AWS's own words."""
    refuse(monkeypatch, {"GetParameter", "GetParametersByPath"}, code)
    result = stage.run(*words)
    assert is_one_sentence(result), result.output
    assert {"A": "may not do GetParameter", "E": "have expired", "T": "Throttling"}[code[0]] in result.stderr


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestExpired"])
def test_what_aws_does_not_show_is_told_and_is_not_taken_for_gone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Why the volume's place is not known; it is not said to be nobody's."""
    stage.settle(stage.a, 7)
    refuse(monkeypatch, {"DescribeVolumes"}, code)
    result = stage.run("status", "orders")
    assert f"AWS did not answer DescribeVolumes, so what it would show is not known ({code}" in result.stderr
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith(stage.volume)]
    assert row[1:] == ["?", "not", "known"]


def refuse(monkeypatch: pytest.MonkeyPatch, operations: set[str], code: str) -> None:
    """Let AWS answer these with an error."""
    call = vars(BaseClient)["_make_api_call"]

    def answer(client: BaseClient, operation: str, given: Any) -> Any:
        if operation in operations:
            raise ClientError({"Error": {"Code": code, "Message": "the words of AWS"}}, operation)
        return call(client, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", answer)


def void(_: object) -> None:
    """Drops a value."""
