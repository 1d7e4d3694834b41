"""`./baton apply` and `check` as a person runs them, against the embedded AWS."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import (
    BotoCoreError,
    CredentialRetrievalError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from click.testing import CliRunner, Result

from cli import apply, check, deploy, destroy, history
from cli.main import baton
from infra.account import Account, Trouble, connect, sentence
from infra.names import Names
from infra.support import make_support
from lab.cloud import Cloud, Delivery
from lab.cloud.building import Node
from lab.cloud.machinery import Nothing

STAGE = "ops"
ADDRESS = "10.9.0.100"


class Answering(Nothing):
    """Agents that answer people's `status` as a sound node does."""

    def deliver(self, instance: str, delivery: Delivery) -> None:
        """One JSON line, after some progress."""
        keepalived = dict.fromkeys(("installed", "valid", "instance", "fifo", "running"), True)
        host = {"now": time.time(), "fstab": ["/srv/orders"], "keepalived": keepalived}
        answer = {"version": 1, "result": "status", "status": {"host": host}}
        arguments = ("Success", 0, f"looking\n{json.dumps(answer)}\n", "")
        threading.Thread(target=delivery.report, args=arguments, daemon=True).start()


class Place:
    """Two nodes, a volume, and the support stack of one stage."""

    def __init__(self, cloud: Cloud, account: Account, documents: Path) -> None:
        make_support(account.session, STAGE, documents)
        cloud.use(Answering())
        self.cloud = cloud
        self.net = cloud.network("10.9.0.0/16", "10.9.0.0/24")
        self.a, self.b = self.node("a"), self.node("b")
        self.volume = cloud.volume(tags=self.tags("orders"))

    def tags(self, cluster: str) -> dict[str, str]:
        """Baton's tags."""
        return {"baton:stage": STAGE, "baton:cluster": cluster}

    def node(self, name: str) -> Node:
        """A node with a tagged interface."""
        node = self.cloud.launch(self.net, name, profile=Names(STAGE).node_role, tags=self.tags("orders"))
        pairs = [{"Key": k, "Value": v} for k, v in self.tags("orders").items()]
        self.cloud.client("ec2").create_tags(Resources=[node.interface], Tags=pairs)
        return node

    def definition(self, **changes: Any) -> dict[str, Any]:
        """A sound definition, or one with something changed."""
        return {
            "version": 1,
            "name": "orders",
            "nodes": [{"id": self.a.id}, {"id": self.b.id}],
            "volumes": [{"id": self.volume, "mount": "/srv/orders", "filesystem": "ext4"}],
            "addresses": [{"address": ADDRESS, "interface": "eth0", "prefix": 24}],
            **changes,
        }

    def in_force(self) -> dict[str, str]:
        """What Parameter Store holds."""
        found = self.cloud.client("ssm").get_parameters_by_path(Path=Names(STAGE).definitions)
        return {p["Name"]: p["Value"] for p in found["Parameters"]}


@pytest.fixture(scope="module")
def place(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place for all tests of the module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment().items():
            patch.setenv(name, value)
        documents = tmp_path_factory.mktemp("documents")
        parameters = {
            name: {"type": "String", "default": ""} for name in ("action", "cluster", "ready", "anyway")
        }
        step = {"action": "aws:runShellScript", "name": "x", "inputs": {"runCommand": ["true"]}}
        document = {"schemaVersion": "2.2", "parameters": parameters, "mainSteps": [step]}
        for file in ("orchestrator.json", "people.json"):
            (documents / file).write_text(json.dumps(document))
        yield Place(cloud, connect(), documents)


@pytest.fixture(autouse=True)
def clean(place: Place, account: Account) -> None:
    """Each test begins without definitions."""
    for name in place.in_force():
        place.cloud.client("ssm").delete_parameter(Name=name)


def put(place: Place, tmp_path: Path, *options: str, **changes: Any) -> Result:
    """Run `./baton apply` on a definition."""
    document = place.definition(**changes)
    file = tmp_path / f"{document['name']}.yaml"
    file.write_text(yaml.safe_dump(document))
    return run(apply.command, str(file), "--yes", *options)


def run(command: Any, *arguments: str) -> Result:
    """Run a command for the stage; a crash is a failure of the test."""
    result = CliRunner().invoke(command, [*arguments, "--stage", STAGE])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_sound_definition_is_shown_and_put_into_force(place: Place, tmp_path: Path) -> None:
    """The difference is shown, Parameter Store holds it, and again there is nothing to do."""
    result = put(place, tmp_path, "--anyway", "--why", "the first of it")
    assert result.exit_code == 0, result.output
    assert "+name: orders" in result.output
    (text,) = place.in_force().values()
    assert json.loads(text) == place.definition()
    people = json.loads(run(history.command, "orders", "--json").output)["people"]
    assert [(deed["what"], deed["why"]) for deed in people] == [("defined it", "the first of it")]
    assert "Nothing to do" in put(place, tmp_path).output
    paused = put(place, tmp_path, "--anyway", paused=True)
    assert "is paused with this" in paused.output
    assert "+paused: true" in paused.output
    assert "-name" not in paused.output


@pytest.mark.parametrize(
    ("options", "changes", "stays"),
    [
        ((), {}, True),
        (("--resume",), {}, False),
        (("--resume",), {"paused": True}, False),
        ((), {"paused": False}, False),
    ],
)
def test_a_pause_stays_unless_somebody_ends_it(
    place: Place, tmp_path: Path, options: tuple[str, ...], changes: dict[str, Any], stays: bool
) -> None:
    """A file about something else does not resume a cluster that a colleague is working on."""
    put(place, tmp_path, "--anyway", paused=True)
    result = put(place, tmp_path, "--anyway", *options, heartbeat_seconds=20, **changes)
    assert result.exit_code == 0, result.output
    (text,) = place.in_force().values()
    assert json.loads(text) == place.definition(paused=stays, heartbeat_seconds=20)
    assert ("is paused with this" in result.output) is stays
    assert ("-paused: true" in result.output) is not stays


def test_a_dry_run_changes_nothing(place: Place, tmp_path: Path) -> None:
    """--dry-run shows the difference and leaves Parameter Store alone."""
    result = put(place, tmp_path, "--anyway", "--dry-run")
    assert "Nothing was changed" in result.output
    assert place.in_force() == {}


def test_problems_of_the_preflight_keep_a_definition_out(place: Place, tmp_path: Path) -> None:
    """A node that does not exist is a problem; nothing is changed unless one insists."""
    nodes = [{"id": place.a.id}, {"id": "i-0123456789abcdef0"}]
    result = put(place, tmp_path, nodes=nodes)
    assert result.exit_code == 2
    assert "EC2 knows no such instance" in result.output
    assert "Nothing was changed" in result.output
    assert place.in_force() == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "Orders!"}, "name cannot be 'Orders!'"),
        ({"nodes": []}, "nodes needs at least 1"),
        ({"nodes": [{"id": "web-1"}]}, "cannot be 'web-1'"),
        ({"surprise": 1}, "surprise is not a field"),
        ({"fence": "maybe"}, "fence must be one of"),
        ({"heartbeat_seconds": "soon"}, "heartbeat_seconds must be a number"),
    ],
)
def test_a_broken_definition_is_refused_in_one_sentence(
    place: Place, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    """The sentence names the field, and nothing is changed."""
    result = put(place, tmp_path, **changes)
    assert result.exit_code == 2
    assert sentence in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert place.in_force() == {}


def test_a_volume_used_twice_is_refused(place: Place, tmp_path: Path) -> None:
    """Twice in one definition, or in two clusters: one sentence, nothing changed."""
    volume = {"id": place.volume, "filesystem": "ext4"}
    twice = [{**volume, "mount": "/srv/a"}, {**volume, "mount": "/srv/b"}]
    assert f"volumes names {place.volume} twice" in put(place, tmp_path, volumes=twice).output
    assert put(place, tmp_path, "--anyway").exit_code == 0
    before = place.in_force()
    result = put(place, tmp_path, "--anyway", name="ledger", nodes=[{"id": "i-0123456789abcdef0"}])
    assert result.exit_code == 2
    assert f"{place.volume} belongs to cluster orders already" in result.output
    assert place.in_force() == before


def test_a_node_of_another_cluster_is_refused(place: Place, tmp_path: Path) -> None:
    """By id or by tag: a node belongs to one cluster."""
    put(place, tmp_path, "--anyway")
    before = place.in_force()
    others: dict[str, Any] = {"name": "ledger", "volumes": []}
    address = [{"address": "10.9.0.101", "interface": "eth0", "prefix": 24}]
    for nodes in ([{"id": place.b.id}], {"tag": "Name", "value": "b"}):
        result = put(place, tmp_path, "--anyway", **others, nodes=nodes, addresses=address)
        assert f"{place.b.id} is a node of cluster orders already" in result.output
        assert place.in_force() == before


def test_check_finds_what_is_wrong_and_changes_nothing(place: Place, tmp_path: Path) -> None:
    """Findings with remedies, for people and as JSON, exit status 1; no mutating call is made."""
    put(place, tmp_path, "--anyway")
    place.cloud.calls.clear()
    result = run(check.command, "orders")
    assert result.exit_code == 1, result.output
    assert "/srv/orders is in /etc/fstab" in result.output
    assert "the EventBridge rule that calls sweep is missing" in result.output
    read = ("Describe", "Get", "List")
    written = {c.operation for c in place.cloud.calls if not c.operation.startswith(read)}
    assert written == {"SendCommand"}  # people's `status`, which only looks
    (sent, *_) = place.cloud.calls.of("SendCommand")
    assert sent.parameters["DocumentName"] == f"baton-{STAGE}-people"
    assert sent.parameters["Parameters"]["action"] == ["status"]
    found = json.loads(run(check.command, "orders", "--json").output)
    checks = {f["check"] for f in found["findings"]}
    assert {"fstab", "rule", "reservation"} <= checks
    assert all(f["remedy"] for f in found["findings"])


def test_check_of_an_unknown_cluster_says_which_there_are(place: Place, tmp_path: Path) -> None:
    """Status 2: nothing could be found out."""
    put(place, tmp_path, "--anyway")
    result = run(check.command, "ledger")
    assert result.exit_code == 2
    assert "has no cluster ledger" in result.output
    assert "orders" in result.output


class TestBadInput:
    """One clear sentence, nothing changed, whatever is wrong with the surroundings."""

    @pytest.mark.parametrize("stage", ["Prod", "prod_1", "-prod", "p" * 17, "a;b"])
    @pytest.mark.parametrize("command", [deploy.command, destroy.command])
    def test_an_odd_stage_name(self, command: Any, stage: str) -> None:
        """Refused before AWS is asked anything."""
        result = CliRunner().invoke(command, [f"--stage={stage}"])
        assert result.exit_code == 1
        assert "cannot be a stage name" in result.output

    @pytest.mark.parametrize("stage", ["Prod", "a;b"])
    def test_an_odd_stage_name_of_a_cluster(self, stage: str, tmp_path: Path) -> None:
        """Neither applied nor checked."""
        for words in (["apply", str(tmp_path / "x.yaml")], ["check", "orders"], ["history", "orders"]):
            result = CliRunner().invoke(baton, [*words, f"--stage={stage}"])
            assert result.exit_code in (1, 2)
            assert "cannot be a stage name" in result.output

    @pytest.mark.parametrize("somewhere", [["--region=eu-west-3"], ["--stage=nowhere"]])
    def test_a_stage_that_is_not_there(self, place: Place, tmp_path: Path, somewhere: list[str]) -> None:
        """The wrong region, or the wrong stage: one sentence, and nothing is written there."""
        file = tmp_path / "orders.yaml"
        file.write_text(yaml.safe_dump(place.definition()))
        for words in (["apply", str(file), "--yes", "--anyway"], ["check", "orders"], ["status"]):
            result = CliRunner().invoke(baton, [*words, *somewhere], env={"BATON_STAGE": STAGE})
            assert result.exit_code in (1, 2), result.output
            assert "baton: There is no stage" in result.stderr, result.output
            assert len(result.output.strip().splitlines()) == 1
        for region in (place.cloud.region, "eu-west-3"):
            ssm = connect(region).client("ssm")
            assert not ssm.get_parameters_by_path(Path="/baton", Recursive=True)["Parameters"]

    def test_no_region(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Which variable to set."""
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        result = CliRunner().invoke(deploy.command, ["--stage=prod"])
        assert result.output.startswith("baton: No AWS region is set.")

    def test_no_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """How to get some."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        result = CliRunner().invoke(deploy.command, ["--stage=prod"])
        assert result.output.startswith("baton: No AWS credentials were found.")

    def test_credentials_that_cannot_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A profile that is not there, a region's name that is none."""
        result = CliRunner().invoke(baton, ["status", "--stage=prod", "--region=eu central"])
        assert result.stderr.startswith("baton: That is no name of an AWS region.")
        monkeypatch.setenv("AWS_PROFILE", "nope")
        result = CliRunner().invoke(baton, ["status", "--stage=prod"])
        assert "profile (nope) could not be found. Set AWS_PROFILE" in result.stderr

    @pytest.mark.parametrize(
        "error",
        [
            UnauthorizedSSOTokenError(),
            TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            CredentialRetrievalError(provider="process", error_msg="expired"),
        ],
    )
    def test_a_sign_in_that_is_over(self, error: BotoCoreError) -> None:
        """However the SDK says it: sign in again."""
        assert "Sign in again (aws sso login)" in sentence(error)

    def test_expired_credentials(self, cloud: Cloud) -> None:
        """Sign in again."""
        cloud.faults.fail("GetCallerIdentity", "ExpiredToken")
        result = CliRunner().invoke(deploy.command, ["--stage=prod"])
        cloud.faults.clear()
        assert result.output.startswith("baton: The AWS credentials have expired.")

    def test_another_account(self) -> None:
        """--account guards against the wrong credentials."""
        arguments = ["--stage=prod", "--account", "999999999999"]
        result = CliRunner().invoke(deploy.command, arguments)
        assert result.exit_code == 1
        assert "not 999999999999. Nothing was changed." in result.output

    def test_a_stage_deployed_elsewhere(self, account: Account, tmp_path: Path) -> None:
        """A stage that went to another region from here does not come to this one by mistake."""
        names = Names("prod")
        deploy.remember(account, names, tmp_path)
        other = Account(account.session, account.id, "us-east-1")
        deploy.refuse_elsewhere(account, names, tmp_path)
        with pytest.raises(Trouble, match="was deployed from here to"):
            deploy.refuse_elsewhere(other, names, tmp_path)

    def test_destroy_wants_the_name_typed(self, place: Place) -> None:
        """Anything else changes nothing."""
        result = CliRunner().invoke(destroy.command, ["--stage", STAGE], input="yes\n")
        assert result.exit_code == 1
        assert "That is not the stage's name. Nothing was changed." in result.output
        tables = place.cloud.client("dynamodb").list_tables()["TableNames"]
        assert f"baton-{STAGE}" in tables
