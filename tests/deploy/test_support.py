"""The support stack: the same template makes the same resources by direct calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from infra.names import BadStage, Names
from infra.support import make_support


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """An AWS of this test's own."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield boto3.Session("testing", "testing", region_name="eu-central-1")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """SSM documents that do nothing."""
    content = {
        "schemaVersion": "2.2",
        "description": "stand-in",
        "mainSteps": [{"action": "aws:runShellScript", "name": "x", "inputs": {"runCommand": ["true"]}}],
    }
    for file in ("orchestrator.json", "people.json"):
        (tmp_path / file).write_text(json.dumps(content))
    return tmp_path


def test_two_stages_are_made_side_by_side(session: boto3.Session, documents: Path) -> None:
    """Two stages in one account have different resources, and both statements on the bus."""
    prod, lab = (make_support(session, stage, documents) for stage in ("prod", "lab"))
    assert prod.node_role_id != lab.node_role_id
    assert {prod.table, lab.table} == {"baton-prod", "baton-lab"}
    bus = session.client("events").describe_event_bus()
    sids = {s["Sid"] for s in json.loads(bus["Policy"])["Statement"]}
    assert sids == {"baton-prod-nodes-only", "baton-lab-nodes-only"}


def test_tables_have_ttl_and_recovery(session: boto3.Session, documents: Path) -> None:
    """What moto's CloudFormation skips is there: TTL, point-in-time recovery, encryption."""
    support = make_support(session, "lab", documents)
    client = session.client("dynamodb")
    ttl = client.describe_time_to_live(TableName=support.table)["TimeToLiveDescription"]
    backups = client.describe_continuous_backups(TableName=support.table)
    recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert (ttl["AttributeName"], ttl["TimeToLiveStatus"]) == ("expires", "ENABLED")
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"


@pytest.mark.parametrize("stage", ["", "Prod", "prod_1", "1st", "a" * 17, "prod\n", "x;rm -rf /"])
def test_an_odd_stage_name_is_refused_in_one_sentence(stage: str) -> None:
    """A stage name that AWS would refuse somewhere is refused before anything is done."""
    with pytest.raises(BadStage, match="cannot be a stage name"):
        Names(stage)
