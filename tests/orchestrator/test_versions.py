"""Nodes and functions of another version: what they say and wrote is used, or left alone and told once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from string import Template
from typing import Any

import pytest

from chalicelib.items import key, to_item
from tests.orchestrator.orders import Context, Orders
from tests.orchestrator.test_signals import asked_to_hand_over, hear, spot

OPTIONAL = ("kind", "config", "node", "since", "software", "reason")
"""Fields of a word that software of another version may lack, for nothing is decided by them."""

WRITTEN_BY_ITS_PREDECESSOR = """
{"cluster": "orders", "epoch": 2, "owner": "$b", "previous": "$a", "highest_issued": 2,
 "granted_at": $granted, "counted_from": $granted, "because": "b claims, a does not",
 "seats": [
  {"node": "$a", "held": {"epoch": 1, "boot": "boot-1"}, "asked": [
   {"command": {"node": "$a", "verb": "release", "epoch": 2, "boot": "boot-1", "deadline": $later,
                "volumes": ["$volume"]},
    "at": $granted, "heard": 5, "id": "11111111-2222-3333-4444-555555555555", "outcome": "done"}]},
  {"node": "$b", "asked": [
   {"command": {"node": "$b", "verb": "status", "epoch": 2, "boot": "boot-1", "deadline": $later,
                "volumes": ["$volume"]},
    "at": $granted, "heard": 5, "id": "11111111-2222-3333-4444-666666666666", "outcome": "done"}]}],
 "intents": [{"action": {"volume": "$volume", "node": "$a", "kind": "Detach"}, "epoch": 2,
              "at": $granted, "outcome": "not yet", "code": "RequestLimitExceeded"}],
 "marks": [["granted", $granted]]}
"""
"""A record in the middle of a hand-over, as Baton wrote it before it knew of notices."""


def served(orders: Orders) -> None:
    """`a` serves, `b` stands by."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    assert orders.is_served_by(orders.a)


def older(event: dict[str, Any]) -> dict[str, Any]:
    """The word as earlier software says it."""
    detail = {name: value for name, value in event["detail"].items() if name not in OPTIONAL}
    return {**event, "detail": detail}


def older_script(orders: Orders) -> Callable[[dict[str, str]], tuple[str, str]]:
    """A node script that answers without what came later, by the same rules."""

    def run(given: dict[str, str]) -> tuple[str, str]:
        (host,) = (h for h in (orders.a, orders.b) if f"{given['boot']}" == h.boot)
        words = {k: v for k, v in host.word("answer").items() if k not in OPTIONAL}
        result = {"release": "released", "acquire": "acquired", "status": "status"}[given["action"]]
        if given["action"] == "release":
            host.mounted.clear()
            words |= {"highest": int(given["epoch"]), "released": int(given["epoch"]) - 1, "serving": None}
        if given["action"] == "acquire":
            deadline = time.monotonic() + 5
            while orders.volume not in host.devices and time.monotonic() < deadline:
                time.sleep(0.02)
            host.mounted.add(orders.volume)
            words |= {"highest": int(given["epoch"]), "serving": int(given["epoch"])}
        said = {"version": 1, "cluster": "orders", "action": given["action"], "epoch": int(given["epoch"])}
        return "Success", json.dumps(said | {"result": result, "word": words})

    return run


def test_words_and_answers_of_earlier_software_move_a_cluster(orders: Orders) -> None:
    """Nodes are updated one after the other, and later than the functions."""
    orders.a.boot, orders.b.boot = "boot-of-a", "boot-of-b"
    orders.hosts.script = older_script(orders)
    orders.hear(older(orders.say(orders.b)))
    orders.a.state = "MASTER"
    orders.hear(older(orders.say(orders.a)))
    orders.until_settled()
    assert orders.is_served_by(orders.a)
    orders.a.state, orders.b.state = "FAULT", "MASTER"
    orders.hear(older(orders.say(orders.b)))
    orders.until_settled()
    assert orders.is_served_by(orders.b)


@pytest.mark.slow
def test_an_owner_whose_script_cannot_hand_over_goes_on_serving(orders: Orders) -> None:
    """It answers that it does not understand: nobody is stopped for that, and nothing moves."""
    served(orders)
    said = {"version": 1, "cluster": "orders", "action": "", "epoch": 0, "result": "failed"}
    answer = json.dumps(said | {"code": "configuration", "word": None})
    orders.hosts.script = lambda _: ("Failed", answer)
    hear(orders, spot(orders.a.id, orders.cloud.account))
    assert asked_to_hand_over(orders) == [orders.a.id]
    orders.hosts.script = None
    orders.hear(orders.say(orders.a, "heartbeat"))
    orders.sweep()
    assert orders.is_served_by(orders.a)
    assert orders.hosts.power == []


@pytest.mark.slow
def test_a_hand_over_that_the_earlier_version_began_is_finished(orders: Orders) -> None:
    """A deployment between its steps: what it asked, tried and marked is carried on."""
    served(orders)
    orders.a.state, orders.b.state = "FAULT", "MASTER"
    for host in (orders.a, orders.b):
        orders.hear(orders.say(host), seconds=0.0)
    now = time.time()
    body = Template(WRITTEN_BY_ITS_PREDECESSOR).substitute(
        a=orders.a.id, b=orders.b.id, volume=orders.volume, granted=now - 1, later=now + 4
    )
    put(orders, "RECORD", {"schema": 1, "version": 40, "epoch": 2, "body": body})
    orders.until_settled()
    assert orders.is_served_by(orders.b)
    assert orders.record.epoch == 2
    assert orders.hosts.double == []


def test_what_a_later_version_keeps_beside_the_words_is_passed_over(orders: Orders) -> None:
    """As an earlier version passes over the notices."""
    served(orders)
    before = orders.record
    there = orders.app.house().store._words("orders")
    put(orders, "WORDS", {**there, "colour:i-1": "red"})
    assert orders.record == before


def put(orders: Orders, sk: str, content: dict[str, Any]) -> None:
    """Store an item of the cluster, whatever is there."""
    store = orders.app.house().store
    store.client.put_item(TableName=store.table, Item=key("orders", sk) | to_item(content))


def test_a_word_of_a_later_version_is_one_warning_and_changes_nothing(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    """What it means cannot be known: the functions are to be deployed before the nodes."""
    served(orders)
    before = orders.record
    caplog.clear()
    orders.hear(orders.say(orders.a, version=2, state="PREEMPTED"))
    assert orders.record == before
    (warning,) = [line for line in caplog.records if line.levelname == "WARNING"]
    assert "version is 2" in warning.text  # type: ignore[attr-defined]


def test_an_answer_of_a_later_version_counts_as_none(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    """The node is taken for silent, and the log says why."""
    orders.hear(orders.say(orders.b))
    said = {"version": 2, "cluster": "orders", "action": "status", "epoch": 1, "result": "status"}
    orders.hosts.script = lambda _: ("Success", json.dumps(said))
    orders.a.state = "MASTER"
    orders.hear(orders.say(orders.a), seconds=12.0)
    assert not orders.record.settled
    assert "version is 2" in "".join(str(getattr(line, "why", "")) for line in caplog.records)


def test_a_record_of_a_later_version_is_left_alone_until_that_is_deployed_again(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a word nor the sweep touches it; the log says what to do."""
    served(orders)
    there = {"schema": 2, "version": 40, "epoch": 2, "body": "{}"}
    put(orders, "RECORD", there)
    caplog.clear()
    orders.a.state, orders.b.state = "FAULT", "MASTER"
    for host in (orders.a, orders.b):
        orders.hear(orders.say(host))
    warnings = [line for line in caplog.records if line.levelname == "WARNING"]
    assert ["schema 2" in line.text for line in warnings] == [True, True]  # type: ignore[attr-defined]
    calls = len(orders.mutations())
    orders.app.sweep(orders.envelope("aws.events", "Scheduled Event", {}), Context())
    assert len(orders.mutations()) == calls
    store = orders.app.house().store
    item = store.client.get_item(TableName=store.table, Key=key("orders", "RECORD"))["Item"]
    assert item == key("orders", "RECORD") | to_item(there)
