"""What is not well is said anew by each sweep, so that its alarm lasts as long as it does."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

import pytest

from infra import template
from tests.orchestrator.orders import Orders
from tests.orchestrator.test_signals import hear, spot


def metrics(orders: Orders, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The metrics of one sweep."""
    capsys.readouterr()
    orders.sweep()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    return {
        metric["Name"]
        for line in lines
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }


def test_a_cluster_is_said_to_be_blocked_as_long_as_it_is(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """An owner that is about to go and has no peer: each sweep says so, until a peer is there."""
    orders.become(orders.a, "MASTER")
    assert "Blocked" not in metrics(orders, capsys)
    hear(orders, spot(orders.a.id, orders.cloud.account))
    for _ in range(3):
        assert "Blocked" in metrics(orders, capsys)
    orders.hear(orders.say(orders.b))
    orders.hear(orders.say(orders.a))
    orders.become(orders.b, "MASTER")
    orders.until_settled()
    assert metrics(orders, capsys) == {"Sweep"}


def test_how_long_a_hand_over_took_is_measured(orders: Orders, capsys: pytest.CaptureFixture[str]) -> None:
    """In seconds, from the decision to settled; the objective's alarm watches it."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    orders.become(orders.a, "FAULT")
    capsys.readouterr()
    orders.become(orders.b, "MASTER")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "HandoverSeconds" in line]
    marks = dict(orders.record.marks)
    ((seconds,),) = [line["HandoverSeconds"] for line in lines]
    assert seconds == pytest.approx(marks["settled"] - orders.record.granted_at, abs=0.01) and seconds > 0
    alarm = template.load()["Resources"]["SlowAlarm"]["Properties"]
    assert (alarm["MetricName"], alarm["Statistic"]) == ("HandoverSeconds", "Maximum")


def test_a_throttled_call_is_counted(orders: Orders, caplog: pytest.LogCaptureFixture) -> None:
    """The support stack counts lines of the log: those of a read, a mutation and a command that AWS
    throttled are among them, as Lambda writes them, and no other line is."""
    orders.hear(orders.say(orders.b))
    throttled = ("DescribeVolumes", "AttachVolume", "SendCommand")
    for operation in throttled:
        orders.cloud.faults.throttle(operation)
    caplog.clear()
    orders.become(orders.a, "MASTER")
    orders.until_settled()
    counted = [line for line in as_lambda_writes(orders, caplog) if is_counted(line)]
    assert len(counted) == len(throttled)
    assert {line["code"] for line in counted} == {"RequestLimitExceeded", "ThrottlingException"}


def as_lambda_writes(orders: Orders, caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The lines of the log as they come to CloudWatch."""
    return [json.loads(orders.app.logger.registered_formatter.format(r)) for r in caplog.records]


def is_counted(line: dict[str, Any]) -> bool:
    """Whether the metric filter matches: its terms compare the code, with stars at the ends."""
    pattern = template.load()["Resources"]["OnWordThrottled"]["Properties"]["FilterPattern"]
    terms = re.findall(r'\(\$\.code = "([\w*]+)"\)', pattern)
    assert pattern == "{ " + " || ".join(f'($.code = "{term}")' for term in terms) + " }"
    return any(fnmatch.fnmatchcase(str(line.get("code", "")), term) for term in terms)


def test_a_refused_claim_is_said_to_stand_as_long_as_it_does(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two masters, and the owner stays: each sweep says so, until one of them yields."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    orders.become(orders.b, "MASTER")
    assert orders.record.challenge.refused_at is not None
    for _ in range(3):
        assert "Refused" in metrics(orders, capsys)
    orders.become(orders.b, "BACKUP")
    assert metrics(orders, capsys) == {"Sweep"}
