"""A Chalice app deployed by `chalice deploy` runs from its zip, and fails as on Lambda."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.cloud import Call, Cloud, Latencies
from lab.cloud.environment import Invocation

HERE = Path(__file__).parent
DEPLOY_SECONDS = 200
"""Four on an idle machine; pip and a crowd of other tests can make it a minute and more."""
WAIT_SECONDS = 40
pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """With the echo application in it, and its table."""
    project = tmp_path_factory.mktemp("echo") / "echo"
    shutil.copytree(HERE / "echo", project)
    with Cloud.start(latencies=replace(Latencies.fast(), minute=3600.0)) as cloud:
        environment = {**os.environ, **cloud.environment()}
        done = subprocess.run(
            [sys.executable, "-c", "from chalice.cli import main; main()", "deploy", "--stage", "dev"],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEPLOY_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        cloud.client("dynamodb").create_table(
            TableName="echo",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield cloud


@pytest.fixture
def cloud(cloud: Cloud) -> Cloud:
    """Functions are not tried again unless the test says so."""
    retry(cloud, MaximumRetryAttempts=0)
    return cloud


def put(cloud: Cloud, **detail: Any) -> None:
    entry = {"Source": "baton.test", "DetailType": "Word", "Detail": json.dumps(detail)}
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def handled(cloud: Cloud, count: int = 1, **detail: Any) -> list[Invocation]:
    """Invocations of on_word that follow an event."""
    before = len(invocations(cloud))
    put(cloud, **detail)
    cloud.until(lambda: len(invocations(cloud)) >= before + count, WAIT_SECONDS)
    return invocations(cloud)[before:]


def invocations(cloud: Cloud) -> list[Invocation]:
    return [invocation for name, invocation in list(cloud.functions.invocations) if name.endswith("on_word")]


def retry(cloud: Cloud, **options: Any) -> None:
    put_config = cloud.client("lambda").put_function_event_invoke_config
    put_config(FunctionName="echo-dev-on_word", **options)


def queue(cloud: Cloud, name: str) -> tuple[str, str]:
    """URL and ARN of a new queue."""
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    only = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, only["Attributes"]["QueueArn"]


def message(cloud: Cloud, url: str) -> Any:
    got: list[Any] = []

    def arrived() -> bool:
        answer = cloud.client("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"])
        got.extend(answer.get("Messages", []))
        return bool(got)

    cloud.until(arrived, WAIT_SECONDS)
    return got[0]


def test_an_event_reaches_the_handler_in_what_lambda_holds(cloud: Cloud) -> None:
    [invocation] = handled(cloud, number=1)
    answer = json.loads(invocation.body)
    assert answer["number"] == 1
    assert ".venv-lambda" in answer["boto3"]
    assert answer["user"].endswith("assumed-role/echo-dev-on_word/echo-dev-on_word")
    assert time.strptime(answer["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert any('"message":"word"' in line for line in invocation.log)
    assert any("echo-dev-on_word" in line and '"number":1' in line for line in cloud.lambda_log)


def test_a_warm_environment_is_used_again_and_recycling_starts_cold(cloud: Cloud) -> None:
    handled(cloud, number=2)
    [warm] = handled(cloud, number=3)
    cloud.functions.recycle()
    [cold] = handled(cloud, number=4)
    assert cloud.lambda_log[-1].startswith("echo-dev-on_word END")
    assert cold.kind == warm.kind == "response"


def test_a_thread_left_behind_is_frozen_and_reported(cloud: Cloud) -> None:
    cloud.functions.recycle()
    [invocation] = handled(cloud, do="thread")
    assert invocation.threads == 1
    time.sleep(0.5)
    [after] = handled(cloud, number=5)
    assert json.loads(after.body)["gap"] > 0.4
    assert any("left 1 thread" in line for line in cloud.lambda_log)
    cloud.functions.recycle()


def test_an_error_is_tried_again_then_given_up(cloud: Cloud) -> None:
    url, arn = queue(cloud, "failed")
    retry(cloud, MaximumRetryAttempts=2, DestinationConfig={"OnFailure": {"Destination": arn}})
    tries = handled(cloud, count=3, do="raise")
    assert [invocation.kind for invocation in tries] == ["error"] * 3
    record = json.loads(message(cloud, url)["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"]["detail"] == {"do": "raise"}
    assert record["responsePayload"]["errorMessage"] == "it was asked to"


def test_no_retry_if_the_configuration_says_so(cloud: Cloud) -> None:
    retry(cloud, MaximumRetryAttempts=1)
    retry(cloud, MaximumRetryAttempts=0)
    handled(cloud, do="raise")
    time.sleep(0.6)
    assert invocations(cloud)[-1].kind == "error"
    assert cloud.functions.failed[-1][2] == "RetriesExhausted"


def test_a_crash_ends_the_environment_and_the_next_event_gets_another(cloud: Cloud) -> None:
    [crash] = handled(cloud, do="exit")
    assert (crash.kind, json.loads(crash.body)["errorType"]) == ("crash", "Runtime.ExitError")
    [good] = handled(cloud, number=6)
    assert good.kind == "response"


def test_a_timeout_kills(cloud: Cloud) -> None:
    [late] = handled(cloud, do="sleep")
    assert (late.kind, json.loads(late.body)["errorType"]) == ("timeout", "Sandbox.Timedout")
    assert 3 <= late.seconds < 10


def test_the_role_allows_what_its_policy_names_and_no_more(cloud: Cloud) -> None:
    [allowed] = handled(cloud, do="table")
    assert allowed.kind == "response"
    [denied] = handled(cloud, do="ec2")
    assert "UnauthorizedOperation" in json.loads(denied.body)["errorMessage"]
    put_item = cloud.calls.of("PutItem", kind="function")[-1]
    assert put_item.principal.name == "echo-dev-on_word"


def test_the_schedule_fires_by_itself_and_not_when_disabled(cloud: Cloud) -> None:
    [rule] = [r for r in cloud.client("events").list_rules()["Rules"] if r.get("ScheduleExpression")]
    cloud.client("events").disable_rule(Name=rule["Name"])
    with pytest.raises(LookupError):
        cloud.bus.fire(rule["Name"])
    cloud.client("events").enable_rule(Name=rule["Name"])
    before = len(cloud.functions.invocations)
    cloud.bus.fire(rule["Name"])
    cloud.until(lambda: len(cloud.functions.invocations) > before, WAIT_SECONDS)
    assert cloud.functions.invocations[-1][0] == "echo-dev-sweep"


def test_an_event_for_a_function_that_is_gone_goes_to_the_targets_dead_letters(cloud: Cloud) -> None:
    url, arn = queue(cloud, "dead")
    events = cloud.client("events")
    pattern = json.dumps({"source": ["lost"]})
    events.put_rule(Name="lost", EventPattern=pattern)
    gone = f"arn:aws:lambda:{cloud.region}:{cloud.account}:function:gone"
    target = {"Id": "1", "Arn": gone, "DeadLetterConfig": {"Arn": arn}}
    events.put_targets(Rule="lost", Targets=[target])
    events.put_events(Entries=[{"Source": "lost", "DetailType": "x", "Detail": "{}"}])
    dead = message(cloud, url)
    assert json.loads(dead["Body"])["source"] == "lost"
    assert dead["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "RESOURCE_NOT_FOUND"


def test_a_rule_without_permission_invokes_nothing(cloud: Cloud) -> None:
    events = cloud.client("events")
    events.put_rule(Name="unpermitted", EventPattern=json.dumps({"source": ["stranger"]}))
    arn = f"arn:aws:lambda:{cloud.region}:{cloud.account}:function:echo-dev-on_word"
    events.put_targets(Rule="unpermitted", Targets=[{"Id": "1", "Arn": arn}])
    events.put_events(Entries=[{"Source": "stranger", "DetailType": "x", "Detail": "{}"}])
    cloud.until(lambda: any(code == "NO_PERMISSIONS" for _, _, code in cloud.bus.undeliverable), WAIT_SECONDS)


def test_invoke_answers_and_says_what_failed(cloud: Cloud) -> None:
    call = cloud.client("lambda").invoke
    event = cloud.bus.event("baton.x", "Word", {"do": "raise"}, [])
    answer = call(FunctionName="echo-dev-on_word", Payload=json.dumps(event))
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "RuntimeError"
    event["detail"] = {"number": 9}
    answer = call(FunctionName="echo-dev-on_word", Payload=json.dumps(event))
    assert json.loads(answer["Payload"].read())["number"] == 9


@pytest.mark.parametrize("after", [False, True])
def test_a_driver_can_be_killed_before_or_after_any_call(cloud: Cloud, after: bool) -> None:
    table, key = cloud.client("dynamodb"), {"id": {"S": "x"}}
    table.delete_item(TableName="echo", Key=key)

    def kill(call: Call) -> None:
        cloud.functions.kill(call.principal.name)

    cloud.faults.at("PutItem", kill, after=after, lost=not after)
    [crash] = handled(cloud, do="table")
    assert crash.kind == "crash"
    cloud.until(lambda: cloud.calls.of("PutItem", kind="function")[-1].answered is not None, 5)
    assert ("Item" in table.get_item(TableName="echo", Key=key)) is after


def test_a_paused_driver_goes_on_later(cloud: Cloud) -> None:
    pause = cloud.functions.pause
    cloud.faults.at("PutItem", lambda call: pause(0.7, call.principal.name))
    [late] = handled(cloud, do="table")
    assert late.kind == "response"
    assert late.seconds > 0.6


def test_over_its_concurrency_a_function_is_throttled_then_served(cloud: Cloud) -> None:
    functions = cloud.client("lambda")
    name = "echo-dev-on_word"
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        before = len(cloud.functions.invocations)
        put(cloud, number=30)
        with pytest.raises(functions.exceptions.TooManyRequestsException):
            functions.invoke(FunctionName=name, Payload=b"{}")
        assert len(cloud.functions.invocations) == before
    finally:
        functions.delete_function_concurrency(FunctionName=name)
    cloud.until(lambda: len(cloud.functions.invocations) > before, WAIT_SECONDS)
