"""What the deployed rules let through to the functions, by EventBridge's own matching."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.orchestrator.orders import fresh_app
from tests.orchestrator.test_signals import NODE, health, spot

STAGE = "prod"


@pytest.fixture
def app() -> Iterator[ModuleType]:
    """The app as Chalice imports it while it deploys the stage `prod`."""
    there = fresh_app()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATON_STAGE", STAGE)
        yield importlib.reload(there)
    importlib.reload(there)


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether a rule with this pattern hears the event."""
    return bool(EventPattern.load(json.dumps(pattern)).matches_event(event))


def word(source: str, kind: str = "Baton Word") -> dict[str, Any]:
    """An event of this source."""
    return {**spot(NODE), "source": source, "detail-type": kind, "detail": {}}


@pytest.mark.parametrize(
    "event",
    [
        spot(NODE),
        health(NODE),
        spot(NODE, **{"detail-type": "EC2 Instance State-change Notification"}),
        word("aws.ssm", "EC2 Command Invocation Status-change Notification"),
    ],
)
def test_what_aws_tells_of_nodes_reaches_on_signal_and_no_other(
    app: ModuleType, event: dict[str, Any]
) -> None:
    """A warning, maintenance, a change of state, the end of a command."""
    assert matches(app.SIGNALS, event)
    assert not matches(app.WORDS, event)


@pytest.mark.parametrize(
    ("source", "kind", "is_heard"),
    [
        (f"baton.prod.node/AROA:{NODE}", "Baton Word", True),
        (f"baton.prod.node/AROA:{NODE}", "Baton News", False),
        (f"baton.prod2.node/AROA:{NODE}", "Baton Word", False),
        (f"baton.test.node/AROA:{NODE}", "Baton Word", False),
        ("baton.prod", "Baton News", False),
        ("baton.prod", "Baton Word", False),
    ],
)
def test_on_word_hears_the_words_of_its_own_stage_alone(
    app: ModuleType, source: str, kind: str, is_heard: bool
) -> None:
    """Neither another stage's, nor one whose name begins alike, nor Baton's own news."""
    assert matches(app.WORDS, word(source, kind)) is is_heard
    assert not matches(app.SIGNALS, word(source, kind))
