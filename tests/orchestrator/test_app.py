"""The entry points against an AWS: words go in, resources move, nothing is held twice."""

from __future__ import annotations

import pytest

from tests.orchestrator.orders import STAGE, Context, Orders


@pytest.mark.slow
def test_a_cluster_is_served_and_handed_over_and_back(orders: Orders) -> None:
    """Each master in turn gets address and volume; at no moment do two hold them."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    assert orders.is_served_by(orders.a)
    assert orders.record.settled
    orders.become(orders.a, "FAULT")
    orders.become(orders.b, "MASTER")
    assert orders.is_served_by(orders.b)
    record = orders.record
    assert (record.epoch, record.owner, record.settled, record.lease) == (2, orders.b.id, True, None)
    assert orders.hosts.double == []


def served(orders: Orders) -> Orders:
    """The cluster with `a` serving, settled."""
    orders.hear(orders.say(orders.b))
    orders.become(orders.a, "MASTER")
    assert orders.record.settled
    return orders


def test_a_word_that_arrives_twice_changes_nothing(orders: Orders) -> None:
    """The duplicate neither writes nor drives, and creates no epoch."""
    orders.hear(orders.say(orders.b))
    orders.a.state = "MASTER"
    event = orders.say(orders.a)
    orders.hear(event)
    before = orders.record
    orders.hear({**event, "id": "another"})
    assert orders.record == before


def test_words_count_although_the_door_keeper_is_away(orders: Orders) -> None:
    """The record alone is the authority: without the idempotency table all goes on."""
    table = f"baton-{STAGE}-idempotency"
    for operation in ("PutItem", "UpdateItem"):
        orders.cloud.faults.fail(
            operation,
            "InternalServerError",
            times=1000,
            where=lambda call: call.parameters.get("TableName") == table,
        )
    served(orders)
    assert orders.is_served_by(orders.a)


@pytest.mark.slow
def test_an_owner_that_is_dead_is_fenced_before_its_volume_moves(orders: Orders) -> None:
    """It does not answer and EC2 still says running: it is stopped by force, then taken from."""
    served(orders)
    orders.a.on = False
    orders.become(orders.b, "MASTER")
    orders.until_settled()
    assert orders.is_served_by(orders.b)
    assert (orders.a.id, "pulled") in orders.hosts.power
    assert orders.hosts.double == []


def test_a_driver_that_runs_out_of_time_leaves_the_rest_to_the_sweep(orders: Orders) -> None:
    """The word is kept although its handler has no time to drive; one sweep settles."""
    orders.hear(orders.say(orders.b))
    orders.a.state = "MASTER"
    orders.hear(orders.say(orders.a), seconds=0.0)
    assert not orders.record.settled
    orders.sweep()
    assert orders.is_served_by(orders.a)


def test_a_settled_sweep_changes_nothing(orders: Orders) -> None:
    """No mutation and no write to the driver's half but the lease, taken and given back."""
    served(orders)
    calls = len(orders.mutations())
    before = orders.record
    orders.sweep()
    assert len(orders.mutations()) == calls
    after = orders.record
    assert (after.epoch, after.settled, after.intents, after.seats, after.lease) == (
        before.epoch,
        before.settled,
        before.intents,
        before.seats,
        None,
    )


def test_a_heartbeat_that_says_nothing_new_is_kept_and_costs_ec2_nothing(orders: Orders) -> None:
    """Owner and backup repeat themselves: the words are stored, and nobody looks at EC2."""
    served(orders)
    orders.hear(orders.say(orders.a, "heartbeat"))
    calls = len(orders.asked_of_ec2())
    for host in (orders.a, orders.b, orders.a):
        orders.hear(orders.say(host, "heartbeat"))
    assert len(orders.asked_of_ec2()) == calls
    assert {w.node: w.sequence for w in orders.record.words} == {
        host.id: host.sequence for host in (orders.a, orders.b)
    }


def test_ec2_saying_that_the_owner_stopped_wakes_its_cluster(orders: Orders) -> None:
    """The claim of the other node was undecided until EC2's event came."""
    served(orders)
    orders.b.state = "MASTER"
    orders.hear(orders.say(orders.b), seconds=0.0)
    orders.cloud.crash(orders.a.id)
    detail = {"instance-id": orders.a.id, "state": "stopped"}
    kind = "EC2 Instance State-change Notification"
    orders.app.on_signal(orders.envelope("aws.ec2", kind, detail), Context())
    orders.until_settled()
    assert orders.is_served_by(orders.b)


def test_a_broken_definition_leaves_its_cluster_alone_and_the_others_go_on(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    """The sweep names the field of the broken one, and drives the sound one."""
    orders.cloud.client("ssm").put_parameter(
        Name=f"/baton/{STAGE}/clusters/broken", Value='{"version": 1, "name": 7}', Type="String"
    )
    try:
        orders.hear(orders.say(orders.b), seconds=0.0)
        orders.a.state = "MASTER"
        orders.hear(orders.say(orders.a), seconds=0.0)
        orders.sweep()
        assert orders.is_served_by(orders.a)
        said = [getattr(line, "text", "") for line in caplog.records if line.levelname == "ERROR"]
        assert len(said) == 1
        assert "name must be text, not 7" in said[0]
    finally:
        orders.cloud.client("ssm").delete_parameter(Name=f"/baton/{STAGE}/clusters/broken")
