"""Every line of a hand-over says of which cluster and epoch it is, and which event caused it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from chalicelib import aws_observe, drive, house, telling
from tests.orchestrator.orders import Context, Orders
from tests.orchestrator.test_signals import spot

Lines = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def connected(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module logs by the app's logger, as in Lambda, where the service's name is there from the
    beginning; here another test may have imported them without it."""
    service = orders.app.logger.service
    for module in (aws_observe, drive, house, telling):
        monkeypatch.setattr(module, "logger", Logger(service=service, child=True))


def lines_of(orders: Orders, invoke: Callable[[], None]) -> Lines:
    """What an invocation logs, as CloudWatch gets it."""
    written = io.StringIO()
    handler = orders.app.logger.registered_handler
    before = handler.setStream(written)
    try:
        invoke()
    finally:
        handler.setStream(before)
    return [json.loads(line) for line in written.getvalue().splitlines()]


def check(lines: Lines, correlation_id: str, epochs: set[int]) -> None:
    """Each line carries what it takes to find all lines of one hand-over, and of one event."""
    assert lines
    for line in lines:
        assert line.get("cluster") == "orders", line
        assert line.get("epoch") in epochs, line
        assert line.get("correlation_id") == correlation_id, line


def test_a_word_that_moves_a_cluster(orders: Orders) -> None:
    """The old owner's epoch until the new one is granted, then that; also where AWS does not answer."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    orders.become(orders.a, "FAULT")
    orders.b.state = "MASTER"
    orders.cloud.faults.throttle("DescribeVolumes", times=2)
    event = {**orders.say(orders.b), "id": "the-word-of-b"}
    lines = lines_of(orders, lambda: orders.hear(event))
    assert orders.is_served_by(orders.b)
    check(lines, "the-word-of-b", {0, 1, 2})
    text = " ".join(line["message"] for line in lines)
    assert "AWS did not show" in text
    assert "Attach: done" in text
    assert f"epoch 2: {orders.b.id} serves" in text
    assert [line["epoch"] for line in lines if line["message"].startswith("Attach")] == [2]


def test_a_sweep_that_finishes_a_hand_over(orders: Orders) -> None:
    """Nobody's event drives: the sweep's own id is on the lines."""
    orders.hear(orders.say(orders.b))
    orders.a.state = "MASTER"
    orders.hear(orders.say(orders.a), seconds=0.0)
    orders.cloud.faults.throttle("DescribeVolumes", times=2)
    event = {**orders.envelope("aws.events", "Scheduled Event", {}), "id": "the-sweep"}
    lines = lines_of(orders, lambda: orders.app.sweep(event, Context()))
    assert orders.is_served_by(orders.a)
    check(lines, "the-sweep", {0, 1})
    assert "AWS did not show" in " ".join(line["message"] for line in lines)


def test_a_signal_that_begins_a_hand_over(orders: Orders) -> None:
    """What AWS announces, and what follows from it."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    event = {**spot(orders.a.id, orders.cloud.account), "id": "the-warning"}
    lines = lines_of(orders, lambda: orders.app.on_signal(event, Context()))
    check(lines, "the-warning", {1})
    assert {"warned", "blocked"} & {line.get("news") for line in lines}


def test_an_invocation_inherits_nothing_from_the_one_before(orders: Orders) -> None:
    """Lambda's process lives on: the next event's lines do not name the last one's cluster."""
    orders.hear(orders.say(orders.b))
    stranger = {**orders.say(orders.b), "account": "999999999999", "id": "a-stranger"}
    (line,) = lines_of(orders, lambda: orders.hear(stranger))
    assert line["correlation_id"] == "a-stranger"
    assert "cluster" not in line
    assert "epoch" not in line
