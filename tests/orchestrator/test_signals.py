"""What AWS announces of nodes: kept, told, and answered by an orderly hand-over in time."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from chalicelib import timing
from chalicelib.announced import SPOT_TYPE, notices_of, text
from chalicelib.model import Cause, Notice, Reason
from tests.orchestrator.nodes import Host
from tests.orchestrator.orders import Context, Orders

NODE = "i-0123456789abcdef0"
ACCOUNT = "123456789012"
HEARD = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def spot(node: str, account: str = ACCOUNT, **changes: Any) -> dict[str, Any]:
    """EC2's own event, as its guide shows it."""
    return {
        "version": "0",
        "id": "12345678-1234-1234-1234-123456789012",
        "detail-type": SPOT_TYPE,
        "source": "aws.ec2",
        "account": account,
        "time": "2026-01-01T00:00:00Z",
        "region": "us-east-2",
        "resources": [f"arn:aws:ec2:us-east-2:{account}:instance/{node}"],
        "detail": {"instance-id": node, "instance-action": "terminate"},
        **changes,
    }


def health(node: str, account: str = ACCOUNT, **detail: Any) -> dict[str, Any]:
    """An event of AWS Health, as its guide shows it: dates are those of mail headers."""
    return {
        "version": "0",
        "id": "26005bdb-b6eb-466d-920c-3ab19b1d7ea9",
        "detail-type": "AWS Health Event",
        "source": "aws.health",
        "account": account,
        "time": "2026-01-01T00:00:00Z",
        "region": "us-west-2",
        "resources": [node],
        "detail": {
            "eventArn": "arn:aws:health:us-west-2::event/EC2/AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED/A_1",
            "service": "EC2",
            "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED",
            "eventTypeCategory": "scheduledChange",
            "startTime": "Sun, 11 Jan 2026 10:00:00 GMT",
            "endTime": "Sun, 11 Jan 2026 12:00:00 GMT",
            "statusCode": "upcoming",
            "affectedEntities": [{"entityValue": node, "status": "PENDING"}],
            "affectedAccount": account,
            **detail,
        },
    }


START = datetime(2026, 1, 11, 10, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("event", "at", "until", "over"),
    [
        (spot(NODE), HEARD + 120, HEARD + 120, False),
        (spot(NODE, detail={"instance-id": NODE, "instance-action": "hibernate"}), HEARD, HEARD, False),
        (health(NODE), START, START + 7200, False),
        (health(NODE, startTime="2026-01-11T10:00:00Z", endTime=None), START, START, False),
        (health(NODE, startTime="soon"), HEARD, START + 7200, False),
        (health(NODE, endTime="Sat, 10 Jan 2026 10:00:00 GMT"), START, START, False),
        (health(NODE, statusCode="closed"), START, START + 7200, True),
        (
            health(NODE, affectedEntities=[{"entityValue": NODE, "status": "RESOLVED"}, 7]),
            START,
            START + 7200,
            True,
        ),
    ],
)
def test_an_announcement_is_read_as_aws_writes_it(
    event: dict[str, Any], at: float, until: float, over: bool
) -> None:
    """The node, and the time at which it may be gone."""
    (notice,) = notices_of(event, ACCOUNT)
    cause = Cause.SPOT if event["source"] == "aws.ec2" else Cause.MAINTENANCE
    assert notice == Notice(NODE, cause, HEARD, at, until, over=over)
    assert NODE in text(notice)


@pytest.mark.parametrize(
    "event",
    [
        spot(NODE, account="210987654321"),
        spot(NODE, time="yesterday"),
        spot(NODE, time=None),
        spot(NODE, **{"detail-type": "EC2 Instance Rebalance Recommendation"}),
        spot(NODE, **{"detail-type": "EC2 Instance State-change Notification"}),
        spot("i-none"),
        health(NODE, account="210987654321"),
        health(NODE, affectedAccount="210987654321"),
        health(NODE, service="EBS"),
        health(NODE, eventTypeCategory="issue"),
        health(NODE, eventTypeCode="AWS_EC2_OPERATIONAL_NOTIFICATION"),
        health(NODE, eventTypeCode=None),
    ],
)
def test_other_events_announce_nothing(event: dict[str, Any]) -> None:
    """Of another account, of another kind, without a time, or of no instance."""
    assert notices_of(event, ACCOUNT) == ()


def hear(orders: Orders, event: dict[str, Any], ago: float = 0.0) -> None:
    """The function is invoked with an event that was sent now."""
    sent = datetime.fromtimestamp(time.time() - ago, UTC).isoformat(timespec="seconds")
    orders.app.on_signal({**event, "time": sent}, Context())


def served(orders: Orders) -> None:
    """`a` serves, `b` stands by."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    assert orders.is_served_by(orders.a)


def asked_to_hand_over(orders: Orders) -> list[str]:
    """Which nodes were asked, by SSM's account."""
    sent = [call.parameters for call in orders.cloud.calls.of("SendCommand")]
    of_ours = [p for p in sent if p["InstanceIds"][0] in (orders.a.id, orders.b.id)]
    return [p["InstanceIds"][0] for p in of_ours if p["Parameters"]["action"] == ["handover"]]


def news(orders: Orders) -> list[str]:
    """The kinds of Baton's news about these nodes so far."""
    told = [e for call in orders.cloud.calls.of("PutEvents") for e in call.parameters["Entries"]]
    details = [json.loads(e["Detail"]) for e in told if e["DetailType"] == "Baton News"]
    return [detail["kind"] for detail in details if detail["node"] in (orders.a.id, orders.b.id)]


def test_a_spot_warning_moves_the_cluster_before_the_node_is_gone(orders: Orders) -> None:
    """The owner gives up mastership, its peer is elected and gets everything, while both run."""
    served(orders)
    hear(orders, spot(orders.a.id, orders.cloud.account))
    (notice,) = orders.record.notices
    assert (notice.node, notice.cause, notice.boot) == (orders.a.id, Cause.SPOT, orders.a.boot)
    assert 100 < notice.at - time.time() <= 120
    assert orders.a.state == "FAULT"
    assert asked_to_hand_over(orders) == [orders.a.id]
    orders.hear(orders.say(orders.a))
    orders.become(orders.b, "MASTER")
    orders.until_settled()
    assert orders.is_served_by(orders.b)
    assert orders.cloud.state(orders.a.id) == "running"
    assert orders.hosts.double == []


def test_a_warning_that_comes_twice_is_one(orders: Orders) -> None:
    """The second is no news, and asks nobody for anything."""
    orders.hear(orders.say(orders.b))
    event = spot(orders.b.id, orders.cloud.account)
    sent = datetime.now(UTC).isoformat(timespec="seconds")
    for _ in range(2):
        orders.app.on_signal({**event, "time": sent}, Context())
    assert len(orders.record.notices) == 1
    assert news(orders).count("warned") == 1
    assert asked_to_hand_over(orders) == []


@pytest.mark.parametrize("account", ["210987654321", None])
def test_another_accounts_warning_changes_nothing(orders: Orders, account: str | None) -> None:
    """Even if it names a node of ours."""
    served(orders)
    hear(orders, {**spot(orders.a.id), "account": account})
    assert orders.record.notices == ()
    assert asked_to_hand_over(orders) == []


def test_a_warning_of_an_instance_of_no_cluster_changes_nothing(orders: Orders) -> None:
    """Every instance of the account is announced; most are none of Baton's."""
    served(orders)
    before = orders.record
    hear(orders, spot(NODE, orders.cloud.account))
    assert orders.record == before


def test_without_a_peer_the_owner_serves_to_the_end_and_people_are_told(orders: Orders) -> None:
    """Nobody else has ever spoken: to stop early would help nobody."""
    orders.become(orders.a, "MASTER")
    hear(orders, spot(orders.a.id, orders.cloud.account))
    assert orders.is_served_by(orders.a)
    assert asked_to_hand_over(orders) == []
    assert orders.record.obstacle.reason is Reason.NO_HEIR
    assert news(orders)[-2:] == ["warned", "blocked"]
    orders.hear(orders.say(orders.b))
    assert asked_to_hand_over(orders) == [orders.a.id]


def in_days(days: float, host: Host, account: str, **changes: Any) -> dict[str, Any]:
    """Maintenance of a node in so many days, two hours long."""
    at = time.time() + days * 86_400
    return health(
        host.id,
        account,
        startTime=format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True),
        endTime=format_datetime(datetime.fromtimestamp(at + 7200, UTC), usegmt=True),
        **changes,
    )


def test_maintenance_is_told_at_once_and_moves_the_cluster_only_when_it_is_near(orders: Orders) -> None:
    """Days ahead nothing moves; a quarter of an hour before, it does."""
    served(orders)
    hear(orders, in_days(10, orders.a, orders.cloud.account), ago=60)
    (notice,) = orders.record.notices
    assert notice.cause is Cause.MAINTENANCE
    assert "warned" in news(orders)
    orders.sweep()
    assert orders.is_served_by(orders.a)
    assert asked_to_hand_over(orders) == []
    near = (timing.NOTICE_SECONDS - 5) / 86_400
    hear(orders, in_days(near, orders.a, orders.cloud.account))
    assert asked_to_hand_over(orders) == [orders.a.id]


def test_maintenance_that_is_called_off_is_over_also_if_its_first_event_comes_late(orders: Orders) -> None:
    """Events come in any order: the newer one holds."""
    served(orders)
    account = orders.cloud.account
    hear(orders, in_days(0, orders.a, account, statusCode="closed"))
    hear(orders, in_days(0, orders.a, account), ago=60)
    assert [notice.over for notice in orders.record.notices] == [True]
    assert asked_to_hand_over(orders) == []


def test_what_is_announced_survives_drivers_and_words(orders: Orders) -> None:
    """It lies beside the words, and no write of a driver or of a word takes it away."""
    served(orders)
    hear(orders, in_days(10, orders.a, orders.cloud.account))
    kept = orders.record.notices
    orders.hear(orders.say(orders.a, "heartbeat"))
    orders.become(orders.a, "FAULT")
    orders.become(orders.b, "MASTER")
    orders.until_settled()
    assert orders.record.notices == kept != ()


STATE_CHANGE = "EC2 Instance State-change Notification"
COMMAND = "EC2 Command Invocation Status-change Notification"


@pytest.mark.parametrize(
    ("source", "kind", "told"),
    [
        ("aws.ec2", STATE_CHANGE, {"state": "stopped"}),
        ("aws.ec2", STATE_CHANGE, {"state": "terminated"}),
        ("aws.ssm", COMMAND, {"status": "Success"}),
    ],
)
def test_what_aws_tells_of_a_node_drives_its_cluster_to_the_end(
    orders: Orders, source: str, kind: str, told: dict[str, str]
) -> None:
    """Nobody drives: the claim's own handler had no time. No sweep is waited for, and no word."""
    served(orders)
    orders.b.state = "MASTER"
    orders.hear(orders.say(orders.b), seconds=0.0)
    orders.cloud.crash(orders.a.id)
    orders.app.on_signal(orders.envelope(source, kind, {"instance-id": orders.a.id, **told}), Context())
    assert orders.is_served_by(orders.b)
    assert orders.record.settled


def test_a_command_that_is_still_under_way_wakes_nobody(orders: Orders) -> None:
    """SSM tells of each step; only an end is something to look at."""
    served(orders)
    looks = len(orders.asked_of_ec2())
    told = {"instance-id": orders.a.id, "status": "InProgress"}
    orders.app.on_signal(orders.envelope("aws.ssm", COMMAND, told), Context())
    assert len(orders.asked_of_ec2()) == looks


def test_what_aws_tells_while_a_driver_is_about_to_leave_is_not_lost(orders: Orders) -> None:
    """The driver has decided and the handler of the event finds the lease taken: the driver may not
    let go of it, and decides again."""
    served(orders)
    store = orders.app.house().store
    now = time.time()
    decided = store.take(orders.record, "driver", now, now + 30)
    stopped = {"instance-id": orders.a.id, "state": "stopped"}
    orders.app.on_signal(orders.envelope("aws.ec2", STATE_CHANGE, stopped), Context())
    assert store.give_up(decided) is False
    assert orders.record.lease is not None
