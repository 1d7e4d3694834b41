"""Commands that change something: what they change, what they refuse, what the record says of it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import boto3
import pytest

from chalicelib.items import key
from chalicelib.model import Obstacle, Reason, Vrrp
from cli import confirm_fenced
from tests.cli.conftest import REGION, Stage


def deeds(stage: Stage) -> list[Any]:
    """What the history says that people did, the newest first."""
    return list(json.loads(stage.run("history", "orders", "--json").stdout)["people"])


def test_pause_and_resume_are_in_the_definition_and_the_history(stage: Stage) -> None:
    """Paused, resumed, and both written down with the reason and the person."""
    assert "is paused" in stage.run("pause", "orders", "--why", "kernel update").stdout
    assert stage.definition()["paused"] is True
    assert "already" in stage.run("pause", "orders").stdout
    assert "is resumed" in stage.run("resume", "orders", "--why", "done").stdout
    assert stage.definition()["paused"] is False
    people = deeds(stage)
    assert [deed["what"] for deed in people] == ["resumed it", "paused it"]
    assert people[1]["why"] == "kernel update"
    assert people[1]["who"].startswith("arn:aws:")


def test_a_pause_keeps_the_rest_of_the_definition(stage: Stage) -> None:
    """Only `paused` changes."""
    before = stage.definition()
    stage.run("pause", "orders")
    assert stage.definition() == before | {"paused": True}


def blocked(stage: Stage) -> None:
    """Settled on a, then blocked because a is silent; EC2 has been stopping it for long."""
    stage.settle(stage.a, 7)
    stage.record(obstacle=Obstacle(Reason.STUCK_STOPPING, f"{stage.a} is stopping", time.time() - 300))
    boto3.client("ec2", REGION).stop_instances(InstanceIds=[stage.a], Force=True)


def test_confirm_fenced_wants_the_id_typed(stage: Stage) -> None:
    """The right id confirms in this epoch, is audited, and wakes whoever is about to stop deciding."""
    blocked(stage)
    before = stage.store.load("orders")
    result = stage.run("confirm-fenced", stage.a, "--why", "pulled the plug", typed=f"{stage.a}\n")
    assert result.exit_code == 0, result.stderr
    after = stage.store.load("orders")
    assert after.seat(stage.a).confirmed == 7
    assert after.words_version == before.words_version + 1
    assert [deed["why"] for deed in deeds(stage)] == ["pulled the plug"]


def test_confirm_fenced_counts_for_the_epoch_that_was_shown(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch moved while the person looked and typed: nothing is confirmed, and nothing audited."""
    blocked(stage)

    def typed(_: str) -> str:
        stage.record(epoch=8, owner=stage.b, highest_issued=8)
        return stage.a

    monkeypatch.setattr(confirm_fenced, "_typed", typed)
    result = stage.run("confirm-fenced", stage.a, "--why", "pulled the plug")
    assert result.exit_code == 2
    assert "not in epoch 7 any more" in result.stderr
    assert stage.store.load("orders").seat(stage.a).confirmed == 0
    assert deeds(stage) == []


def test_confirm_fenced_tells_programs_in_json(stage: Stage) -> None:
    """Questions go to standard error: what is on standard output is JSON and nothing else."""
    blocked(stage)
    result = stage.run("confirm-fenced", stage.a, "--json", typed=f"{stage.a}\n")
    told = {"cluster": "orders", "node": stage.a, "epoch": 7, "confirmed": True}
    assert json.loads(result.stdout) == told


@pytest.mark.parametrize("typed", ["", "yes\n", "i-0000\n"])
def test_confirm_fenced_without_it_changes_nothing(stage: Stage, typed: str) -> None:
    """A wrong id, a yes, an empty line, or the end of input."""
    blocked(stage)
    before = stage.store.load("orders")
    result = stage.run("confirm-fenced", stage.a, typed=typed)
    assert result.exit_code == 2
    assert "nothing was changed" in result.stderr
    assert stage.store.load("orders") == before


def test_confirm_fenced_refuses_a_running_node(stage: Stage) -> None:
    """EC2 says that it runs, whatever somebody types."""
    stage.settle(stage.a, 7)
    stage.record(obstacle=Obstacle(Reason.NO_FENCE, "silent", time.time()))
    result = stage.run("confirm-fenced", stage.a, typed=f"{stage.a}\n")
    assert result.exit_code == 2
    assert stage.store.load("orders").seat(stage.a).confirmed == 0


def test_confirm_fenced_refuses_where_nothing_waits(stage: Stage) -> None:
    """Nothing is confirmed in advance."""
    stage.settle(stage.a, 7)
    result = stage.run("confirm-fenced", stage.a, typed=f"{stage.a}\n")
    assert "is not blocked" in result.stderr


def test_a_dry_run_of_a_handover_says_who_would_take_over(stage: Stage) -> None:
    """And changes nothing, the audit included."""
    stage.settle(stage.a, 7)
    result = stage.run("handover", "orders", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert f"{stage.a} gives up mastership" in result.stdout
    assert f"{stage.b} (ready" in result.stdout
    assert deeds(stage) == []
    assert stage.commands() == []


def test_a_handover_sends_the_document_and_follows_the_record(stage: Stage) -> None:
    """The people's document goes to the owner; the command ends when the other node has settled."""
    stage.settle(stage.a, 7)
    stage.make_document(then=lambda: stage.settle(stage.b, 8))
    result = stage.run("handover", "orders", "--why", "patch day")
    assert result.exit_code == 0, result.stderr
    assert f"{stage.b} serves" in result.stdout
    (sent,) = stage.commands()
    assert stage.a in sent["InstanceIds"]  # moto adds every other instance of the region
    assert sent["Parameters"] == {
        "action": ["handover"],
        "cluster": ["orders"],
        "ready": [stage.b],
        "anyway": ["false"],
    }
    assert [deed["why"] for deed in deeds(stage)] == ["patch day"]


def test_a_handover_that_nobody_takes_over_says_so(stage: Stage) -> None:
    """The time given to it passes: one sentence, exit status 2."""
    stage.settle(stage.a, 7)
    stage.make_document(then=lambda: None)
    result = stage.run("handover", "orders", "--wait", "1")
    assert result.exit_code == 2
    assert "Not settled on another node after 1 s: no other node has become MASTER" in result.stderr


def test_a_handover_that_is_blocked_says_what_blocks_it(stage: Stage) -> None:
    """The record's own reason, not only that time is over."""
    stage.settle(stage.a, 7)
    obstacle = Obstacle(Reason.STUCK_VOLUME, "the volume is stuck in detaching", time.time())
    moved = {"epoch": 8, "owner": stage.b, "highest_issued": 8, "settled": False}
    stage.make_document(then=lambda: stage.record(**moved, obstacle=obstacle))
    result = stage.run("handover", "orders", "--wait", "2")
    assert result.exit_code == 2
    assert "after 2 s: a volume is stuck: the volume is stuck in detaching. See `./baton" in result.stderr


@pytest.mark.slow
def test_handover_refusals(stage: Stage) -> None:
    """What cannot succeed is refused before anything is sent."""
    assert "has no owner yet" in stage.run("handover", "orders").stderr
    stage.settle(stage.a, 7)
    assert "is the owner already" in stage.run("handover", "orders", "--to", stage.a).stderr
    assert "is no node of orders" in stage.run("handover", "orders", "--to", "i-1").stderr
    stage.say(stage.b, Vrrp.BACKUP, agent=False)
    assert "No other node is ready" in stage.run("handover", "orders").stderr
    assert "is not ready" in stage.run("handover", "orders", "--to", stage.b, "--anyway").stderr
    stage.run("pause", "orders")
    assert "is paused" in stage.run("handover", "orders").stderr
    stage.run("resume", "orders")
    stage.record(settled=False)
    assert "is not settled" in stage.run("handover", "orders").stderr
    assert stage.commands() == []


def test_history_shows_each_epoch_with_its_timeline(stage: Stage) -> None:
    """From whom to whom, how long it took, and each step."""
    stage.settle(stage.a, 7)
    former = stage.store.load("orders")
    now = time.time()
    taken = stage.store.take(former, "driver", now, now + 60)
    assert taken
    marks = (("granted", now - 4), ("released", now - 3.5), ("settled", now - 1))
    later = replace(
        taken, epoch=8, owner=stage.b, previous=stage.a, because="claims", granted_at=now - 4, marks=marks
    )
    assert stage.store.persist(later, former, now)
    shown = stage.run("history", "orders").stdout
    assert f"{stage.a} → {stage.b}" in shown
    assert "released +500 ms" in shown
    assert "3.0 s" in shown


def test_a_long_history_is_read_to_its_end(stage: Stage) -> None:
    """DynamoDB answers with 1 MB at a time: the older entries are there all the same, and no more
    than were asked for."""
    stage.settle(stage.a, 7)
    body = json.loads(stage.store.client.get_item(**history_item(stage, 7))["Item"]["body"]["S"])
    for epoch in range(8, 38):
        long = json.dumps({**body, "epoch": epoch, "obstacle": "x" * 100_000})
        item = history_item(stage, epoch)["Key"] | {"body": {"S": long}}
        stage.store.client.put_item(TableName=stage.names.table, Item=item)
    for last, oldest in ((50, 7), (25, 13)):
        told = json.loads(stage.run("history", "orders", "--last", str(last), "--json").stdout)
        assert [entry["epoch"] for entry in told["epochs"]] == [*range(37, oldest - 1, -1)]


def history_item(stage: Stage, epoch: int) -> dict[str, Any]:
    """Where the history keeps an epoch."""
    return {"TableName": stage.names.table, "Key": key("orders", f"EPOCH#{epoch:012d}")}
