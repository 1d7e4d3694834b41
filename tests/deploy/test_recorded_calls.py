"""What the deployed functions really call is allowed, and nothing is allowed that they never call.

The stories are played by the real zip in Lambda's runtime. Each call that a function's role made is
put before an independent IAM evaluator, with the tags that the resources really carry.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from infra.names import FUNCTIONS
from lab.cloud.calls import Call
from tests.deploy.authorize import requests
from tests.deploy.deployed import Deployed, deploy, deployed, redeploy
from tests.deploy.iam_evaluator import Request, evaluate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.filterwarnings("ignore:Tried to parse AWS"),
    pytest.mark.timeout(290),
]

CALLS_MOST = 12
"""Calls of one run in a settled cluster, which docs/deploy.md reckons with."""

DRIVING = {
    "ObserveEc2",
    "MoveVolumesOfThisStage",
    "MoveAddressesOfThisStage",
    "FenceNodesOfThisStage",
    "SendTheOrchestratorsDocument",
    "ToNodesOfThisStage",
    "HearAnswers",
    "KeepTheRecord",
    "TellWhatHappened",
}
"""Statements for what the driver does, which is the same in each function."""

BY_LAMBDA_ITSELF = {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}
"""Lambda uses these in the function's name: for its log, and for events that failed for good."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The stage after all stories: adopted, handed over, fenced and started again, deployed over."""
    state = tmp_path_factory.mktemp("state")
    with deployed(state) as stage:
        play(stage)
        yield stage


def play(stage: Deployed) -> None:
    """The stories, one after the other."""
    a, b = stage.a, stage.b
    # A word that cannot be written down: Powertools forgets that it saw it, and Lambda keeps it.
    stage.cloud.faults.fail("UpdateItem", "ValidationException", where=_writes_the_record)
    stage.say(a)
    stage.until(lambda: dead_letters(stage) == 1)
    stage.say(a)
    stage.say(b, "MASTER")
    stage.until(lambda: stage.served_by(b))
    # AWS is about to take the owner, which hands over in time; it comes back on another host.
    stage.warn(b)
    stage.until(lambda: b.state == "FAULT", hearing=a)
    stage.say(b)
    stage.say(a, "MASTER")
    stage.until(lambda: stage.served_by(a))
    b.boot = "boot-2"
    stage.say(b, "BACKUP")
    stage.say(a, "FAULT")
    stage.say(b, "MASTER")
    stage.until(lambda: stage.served_by(b))
    # The owner dies while EC2 still says running: it is fenced, and started again.
    b.on = False
    stage.say(a, "MASTER")
    stage.until(lambda: stage.served_by(a), hearing=a)
    stage.until(lambda: stage.cloud.state(b.id) == "running", hearing=a)


def _writes_the_record(call: Call) -> bool:
    of_on_word = call.principal.name == "baton-proof-on_word"
    return of_on_word and call.parameters.get("TableName") == "baton-proof"


def dead_letters(stage: Deployed) -> int:
    """Messages in the stage's dead-letter queue."""
    sqs = stage.account.client("sqs")
    url = sqs.get_queue_url(QueueName=stage.names.dead_letters)["QueueUrl"]
    wanted = ["ApproximateNumberOfMessages"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
    return int(found["ApproximateNumberOfMessages"])


def policies(stage: Deployed) -> dict[str, Any]:
    """The policy of each function's role, as it was deployed."""
    iam = stage.account.client("iam")
    found = {}
    for function in FUNCTIONS:
        role = stage.names.function(function)
        document = iam.get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"]
        found[role] = json.loads(document) if isinstance(document, str) else document
    return found


def function_calls(stage: Deployed) -> list[Call]:
    """The calls made with a function's role."""
    return stage.cloud.calls.of(kind="function")


def actions(stage: Deployed, function: str) -> set[str]:
    """What one of the functions did."""
    role = stage.names.function(function)
    return {f"{c.service}:{c.operation}" for c in function_calls(stage) if c.principal.role == role}


def all_tags(stage: Deployed) -> dict[str, dict[str, str]]:
    """The tags of everything in EC2."""
    found: dict[str, dict[str, str]] = {}
    for page in stage.account.client("ec2").get_paginator("describe_tags").paginate():
        for tag in page["Tags"]:
            found.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return found


def decisions(stage: Deployed) -> dict[str, Request]:
    """Each different thing that IAM would have had to decide."""
    rules, tags = policies(stage), all_tags(stage)
    place = stage.account.place(stage.names)
    found: dict[str, Request] = {}
    for call in function_calls(stage):
        for request in requests(call, rules[call.principal.role], place, tags):
            found[f"{call.principal.role}: {request}"] = request
    return found


def test_the_stories_were_played(stage: Deployed) -> None:
    """No two nodes ever held the volume, one was fenced, and nothing in the lab went wrong."""
    assert stage.hosts.double == []
    assert actions(stage, "on_signal") >= {"ssm:SendCommand", "dynamodb:UpdateItem", "events:PutEvents"}
    assert (stage.b.id, "pulled") in stage.hosts.power
    assert not stage.cloud.problems
    assert not [call for call in function_calls(stage) if "Denied" in call.error]


def test_every_call_is_allowed(stage: Deployed) -> None:
    """Every call of a deployed function is allowed by its own role's policy."""
    asked = decisions(stage)
    assert len(asked) > 20
    verdicts = evaluate(list(asked.values()))
    refused = [name for name, verdict in zip(asked, verdicts, strict=True) if not verdict.allowed]
    assert refused == []


def test_every_allowed_action_is_used(stage: Deployed) -> None:
    """An action that no story needs is a right that nobody should have."""
    used = {request.action for request in decisions(stage).values()}
    allowed = {
        action
        for policy in policies(stage).values()
        for statement in policy["Statement"]
        for action in _list(statement["Action"])
    }
    assert allowed - used == BY_LAMBDA_ITSELF


def test_what_a_function_alone_may_is_used_by_it(stage: Deployed) -> None:
    """Each of them drives clusters, so that rights to drive may wait for a bad day; no other may."""
    asked = decisions(stage)
    for role, policy in policies(stage).items():
        used = {request.action for name, request in asked.items() if name.startswith(f"{role}:")}
        given = [s for s in policy["Statement"] if s["Sid"] not in DRIVING]
        allowed = {action for statement in given for action in _list(statement["Action"])}
        assert allowed - used == BY_LAMBDA_ITSELF, role


def test_without_the_tags_no_mutation_is_allowed(stage: Deployed) -> None:
    """The same calls on resources without the stage's tag are refused, every one."""
    rules, place = policies(stage), stage.account.place(stage.names)
    mutations = [
        request
        for call in function_calls(stage)
        if call.service == "ec2" and not call.operation.startswith("Describe")
        for request in requests(call, rules[call.principal.role], place, {})
    ]
    assert len(mutations) > 5
    assert not any(verdict.allowed for verdict in evaluate(mutations))


def test_a_deployment_over_a_running_cluster_moves_nothing(
    stage: Deployed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Deploying anew, from another machine even, changes nothing of who owns what."""
    before = stage.record
    said = deploy(stage.account, tmp_path_factory.mktemp("elsewhere"))
    after = stage.record
    assert (after.epoch, after.owner, after.settled) == (before.epoch, before.owner, True)
    assert stage.served_by(stage.a)
    assert said[0].endswith("nothing to do")


def test_a_settled_minute_is_cheap(stage: Deployed) -> None:
    """Heartbeats and sweeps of a settled cluster mutate nothing, and make few calls each.

    docs/deploy.md reckons the monthly costs with these figures.
    """
    stage.b.state = "BACKUP"
    stage.say(stage.b)
    stage.until(lambda: at_rest(stage), hearing=stage.a)
    for host in (stage.a, stage.b):  # what they say now is news, and nothing after it is
        stage.say(host, kind="heartbeat")
    quiet(stage)
    ended = stage.cloud.functions.invocations
    ended.clear()
    stage.cloud.calls.clear()

    def runs(function: str) -> int:
        return Counter(name for name, _ in [*ended])[stage.names.function(function)]

    for number, host in enumerate((stage.a, stage.b, stage.a, stage.b), 1):
        stage.say(host, kind="heartbeat")
        stage.until(lambda: runs("on_word") >= number)  # noqa: B023
    quiet(stage)
    heartbeats = calls_of(stage, "on_word", runs("on_word"))
    ended.clear()
    stage.cloud.calls.clear()  # a sweep that met a word looks twice: these are without any
    stage.until(lambda: runs("sweep") >= 2)
    quiet(stage)
    sweeps = calls_of(stage, "sweep", runs("sweep"))
    made = heartbeats | sweeps
    assert not [op for op in made if op.startswith("ec2:") and ":Describe" not in op]
    assert "ssm:SendCommand" not in made
    assert sum(heartbeats.values()) <= CALLS_MOST
    assert sum(sweeps.values()) <= CALLS_MOST


def calls_of(stage: Deployed, function: str, runs: int) -> dict[str, float]:
    """How often one run of a function makes each call; also printed."""
    of = [c for c in function_calls(stage) if c.principal.role == stage.names.function(function)]
    found = {name: n / runs for name, n in Counter(f"{c.service}:{c.operation}" for c in of).items()}
    for name, count in sorted(found.items()):
        print(f"{function:12}{name:36}{count:.1f} per run")
    return found


def test_a_deployment_during_a_hand_over_only_costs_time(
    stage: Deployed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Functions and rules are put anew while resources move: the hand-over ends where it should."""
    stage.say(stage.a, "FAULT")
    stage.say(stage.b, "MASTER")
    redeploy(stage.account, tmp_path_factory.mktemp("anew"))
    stage.until(lambda: stage.served_by(stage.b), hearing=stage.b)
    assert stage.hosts.double == []


def at_rest(stage: Deployed) -> bool:
    """Settled, nobody drives, and the node that was fenced has answered again."""
    record = stage.record
    answered = all(seat.silent_since is None for seat in record.seats)
    return stage.served_by(stage.a) and record.lease is None and answered


def quiet(stage: Deployed) -> None:
    """Wait for a moment in which no function runs, as for most of each minute."""

    def silent() -> bool:
        before = len(stage.cloud.calls)
        time.sleep(0.7)
        return len(stage.cloud.calls) == before

    stage.until(silent)


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
