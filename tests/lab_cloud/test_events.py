"""The bus delivers asynchronously; it loses, doubles, delays and reorders when told."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lab.cloud import Cloud
from lab.cloud.building import Net


@pytest.fixture(scope="module")
def queue_url(shared_cloud: Cloud) -> str:
    """A queue that gets what has source "test"."""
    sqs, events = shared_cloud.client("sqs"), shared_cloud.client("events")
    url = str(sqs.create_queue(QueueName="heard")["QueueUrl"])
    arn = f"arn:aws:sqs:{shared_cloud.region}:{shared_cloud.account}:heard"
    events.put_rule(Name="heard", EventPattern=json.dumps({"source": [{"prefix": "test"}]}))
    events.put_targets(Rule="heard", Targets=[{"Id": "1", "Arn": arn}])
    return url


def put(cloud: Cloud, number: int, **options: Any) -> Any:
    entry = {"Source": "test", "DetailType": "x", "Detail": json.dumps({"n": number}), **options}
    return cloud.client("events").put_events(Entries=[entry])["Entries"][0]


def heard(cloud: Cloud, url: str, count: int = 1, quiet: float = 0.15) -> list[Any]:
    """What arrives, in order, until so many are there and nothing more comes for a while."""
    got: list[Any] = []
    last, until = time.monotonic(), time.monotonic() + 10
    while time.monotonic() < until and (len(got) < count or time.monotonic() < last + quiet):
        answer = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        if messages := answer.get("Messages", []):
            last = time.monotonic()
        got += [json.loads(m["Body"]) for m in messages]
        time.sleep(0.01)
    return got


def numbers(events: list[Any]) -> list[int]:
    return [event["detail"]["n"] for event in events]


def test_an_event_arrives_as_eventbridge_gives_it(cloud: Cloud, queue_url: str) -> None:
    answer = put(cloud, 1, Resources=["r"])
    [event] = heard(cloud, queue_url)
    assert event["id"] == answer["EventId"]
    assert event["account"] == cloud.account
    assert event["resources"] == ["r"]
    assert time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert set(event) == {
        *("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"),
    }


def test_events_are_lost_doubled_delayed_and_reordered(cloud: Cloud, queue_url: str) -> None:
    cloud.bus.lose(1)
    put(cloud, 1)
    put(cloud, 2)
    assert numbers(heard(cloud, queue_url)) == [2]
    cloud.bus.duplicate(1)
    put(cloud, 3)
    twice = heard(cloud, queue_url, 2)
    assert numbers(twice) == [3, 3]
    assert twice[0]["id"] == twice[1]["id"]
    cloud.bus.delay(2.0, 1)
    put(cloud, 4)
    put(cloud, 5)
    assert numbers(heard(cloud, queue_url, 2)) == [5, 4]
    cloud.bus.reorder(3)
    for number in (6, 7, 8):
        put(cloud, number)
    assert numbers(heard(cloud, queue_url, 3)) == [8, 7, 6]


def test_faults_of_the_bus_pick_their_events(cloud: Cloud, queue_url: str) -> None:
    cloud.bus.lose(1, where=lambda event: event["detail"]["n"] == 11)
    for number in (10, 11, 12):
        put(cloud, number)
        time.sleep(0.05)
    assert sorted(numbers(heard(cloud, queue_url, 2))) == [10, 12]
    assert [fate for event, fate in cloud.bus.history if event["detail"].get("n") == 11] == ["lost"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"Detail": "no json"}, "MalformedDetail"),
        ({"Detail": "[1]"}, "MalformedDetail"),
        ({"Source": "aws.ec2"}, "NotAuthorizedForSource"),
        ({"DetailType": ""}, "InvalidArgument"),
    ],
)
def test_a_bad_entry_is_refused_by_itself(cloud: Cloud, wrong: dict[str, str], code: str) -> None:
    good = {"Source": "x", "DetailType": "x", "Detail": "{}"}
    answer = cloud.client("events").put_events(Entries=[good, {**good, **wrong}])
    assert answer["FailedEntryCount"] == 1
    assert "EventId" in answer["Entries"][0]
    assert answer["Entries"][1]["ErrorCode"] == code


def test_more_than_ten_entries_are_refused(cloud: Cloud, refused: Any) -> None:
    good = {"Source": "x", "DetailType": "x", "Detail": "{}"}
    with refused("ValidationException"):
        cloud.client("events").put_events(Entries=[good] * 11)


def test_a_disabled_rule_hears_nothing(cloud: Cloud, queue_url: str) -> None:
    events = cloud.client("events")
    events.disable_rule(Name="heard")
    put(cloud, 20)
    time.sleep(0.1)
    events.enable_rule(Name="heard")
    put(cloud, 21)
    assert numbers(heard(cloud, queue_url)) == [21]


def test_a_node_speaks_for_itself_only_and_holds_no_other_right(cloud: Cloud, net: Net, refused: Any) -> None:
    a, b = cloud.launch(net), cloud.launch(net)
    keys = cloud.credentials(a.id)
    events = cloud.client("events", keys)
    own = {"Source": cloud.source(a.id, "lab"), "DetailType": "Baton Word", "Detail": "{}"}
    assert events.put_events(Entries=[own])["FailedEntryCount"] == 0
    forged = {**own, "Source": cloud.source(b.id, "lab")}
    for entries in ([forged], [own, forged], [{**own, "Source": "baton.lab"}]):
        with refused("AccessDeniedException"):
            events.put_events(Entries=entries)
    with refused("UnauthorizedOperation"):
        cloud.client("ec2", keys).describe_volumes()
    who = cloud.client("sts", keys).get_caller_identity()
    assert who["UserId"] == f"{a.role_id}:{a.id}"
    assert cloud.calls.of("PutEvents", kind="node")[-1].principal.name == a.id


def test_the_buss_policy_binds_everybody_but_the_role_it_names(cloud: Cloud, net: Net, refused: Any) -> None:
    """EventBridge user guide, "Using resource-based policies": moto judges nothing by it."""
    node = cloud.launch(net)
    events, own = cloud.client("events"), cloud.client("events", cloud.credentials(node.id))
    word = {"Source": cloud.source(node.id, "lab"), "DetailType": "Baton Word", "Detail": "{}"}
    statement = {
        "Sid": "nodes-only",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "events:PutEvents",
        "Resource": f"arn:aws:events:{cloud.region}:{cloud.account}:event-bus/default",
        "Condition": {
            "ForAnyValue:StringLike": {"events:source": "baton.lab.node/*"},
            "ArnNotEquals": {"aws:PrincipalArn": f"arn:aws:iam::{cloud.account}:role/baton-lab-node"},
        },
    }
    assert events.put_events(Entries=[word])["FailedEntryCount"] == 0
    events.put_permission(Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        with refused("AccessDeniedException"):
            events.put_events(Entries=[{**word, "Source": "x"}, word])
        assert events.put_events(Entries=[{**word, "Source": "x"}])["FailedEntryCount"] == 0
        assert own.put_events(Entries=[word])["FailedEntryCount"] == 0
    finally:
        events.remove_permission(StatementId="nodes-only")
