"""What is not exactly a word of one of our nodes changes nothing, and is told once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.cloud import Cloud
from lab.cloud.building import Net
from tests.orchestrator.conftest import make_table
from tests.orchestrator.orders import STAGE, Orders, cluster


@pytest.fixture(scope="module")
def orders_once(shared_cloud: Cloud, net: Net) -> Iterator[Orders]:
    """One cluster for all tests of the module, for none of them may change it."""
    with cluster(shared_cloud, net, make_table(shared_cloud)) as made:
        made.hear(made.say(made.a), seconds=0.0)
        yield made


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda e: e["detail"].pop("sequence"), id="lacks a field"),
        pytest.param(lambda e: e["detail"].update(priority="high"), id="wrong type"),
        pytest.param(lambda e: e["detail"].update(reason="x" * 20_000), id="huge"),
        pytest.param(lambda e: e["detail"].update(cluster="nowhere"), id="unknown cluster"),
        pytest.param(lambda e: e["detail"].update(node="i-00000000"), id="contradicts its source"),
        pytest.param(lambda e: e.update(account="999999999999"), id="other account"),
        pytest.param(lambda e: e.update(source=f"baton.{STAGE}.node/AROASTRANGER:i-00000001"), id="role"),
        pytest.param(lambda e: e.update(source=f"baton.{STAGE}.node/AROAOTHER:i-00000001"), id="no member"),
        pytest.param(lambda e: e["detail"].update(sequence=1), id="old"),
        pytest.param(lambda e: e.update(detail=None), id="no detail"),
    ],
)
def test_a_bad_word_is_one_warning_and_one_metric_and_no_change(
    orders_once: Orders,
    spoil: Any,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No exception, nothing written, nothing called."""
    orders = orders_once
    event = json.loads(json.dumps(orders.say(orders.a)))
    spoil(event)
    before, calls = orders.record, len(orders.mutations())
    capsys.readouterr()
    orders.hear(event)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metrics = [line for line in lines if "_aws" in line]
    warnings = [line for line in caplog.records if line.levelname == "WARNING"]
    assert len(warnings) == len(metrics) == 1, caplog.text
    assert {"RefusedWord", "OldWord"} & set(metrics[0])
    assert (orders.record, len(orders.mutations())) == (before, calls)
