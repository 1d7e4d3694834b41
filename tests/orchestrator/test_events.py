"""Events to words: exactly what a node says, or a rejection with its reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.events import SIGNALS, Gate, Heard, Rejected, decode, nodes_of
from chalicelib.model import Vrrp, Word

NODE = "i-0123456789abcdef0"
GATE = Gate("lab", "123456789012", frozenset({"AROANODE", "AROAOTHER"}))

DETAIL: dict[str, Any] = {
    "version": 1,
    "cluster": "orders",
    "node": NODE,
    "sequence": 1764376490250,
    "state": "MASTER",
    "priority": 254,
    "boot": "5f0c1c3e-8a57-4f5e-9a55-0d8ce0a4f4b0",
    "highest": 7,
    "released": 6,
    "serving": 7,
    "agent": True,
    "kind": "transition",
    "since": 1764376490000,
    "config": "ab" * 32,
    "software": "1",
}

EVENT: dict[str, Any] = {
    "version": "0",
    "account": "123456789012",
    "source": f"baton.lab.node/AROANODE:{NODE}",
    "detail-type": "Baton Word",
    "detail": DETAIL,
}

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["MASTER", NODE, "orders", "1", -1, 2**60, 1.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def spoiled(**changes: Any) -> dict[str, Any]:
    """The good event with other values in its detail; `...` takes a field out."""
    event = copy.deepcopy(EVENT)
    event["detail"].update(changes)
    event["detail"] = {k: v for k, v in event["detail"].items() if v is not ...}
    return event


def test_a_word_is_taken_as_it_was_said() -> None:
    """Every field that the core knows, with the node from the source."""
    heard = decode(EVENT, GATE)
    assert isinstance(heard, Heard)
    assert heard.cluster == "orders"
    assert heard.word == Word(
        node=NODE,
        state=Vrrp.MASTER,
        sequence=1764376490250,
        boot=DETAIL["boot"],
        priority=254,
        highest=7,
        released=6,
        serving=7,
        agent=True,
    )


@pytest.mark.parametrize("serving", [0, 7, None])
def test_serving_nothing_is_not_serving_something_unknown(serving: int | None) -> None:
    """0 is a mount that no epoch accounts for, null none at all."""
    heard = decode(spoiled(serving=serving), GATE)
    assert isinstance(heard, Heard)
    assert heard.word.serving == serving


def test_the_node_and_fields_of_newer_software_may_be_absent_or_there() -> None:
    """The source alone names the node; what is not known is ignored."""
    assert isinstance(decode(spoiled(node=..., colour="red"), GATE), Heard)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (spoiled(sequence=...), "malformed"),
        (spoiled(sequence="7"), "malformed"),
        (spoiled(sequence=True), "malformed"),
        (spoiled(sequence=7.0), "malformed"),
        (spoiled(sequence=0), "malformed"),
        (spoiled(sequence=2**53), "malformed"),
        (spoiled(state="DELETED"), "malformed"),
        (spoiled(state=["MASTER"]), "malformed"),
        (spoiled(priority=256), "malformed"),
        (spoiled(boot="a b"), "malformed"),
        (spoiled(boot="x" * 65), "malformed"),
        (spoiled(highest=-1), "malformed"),
        (spoiled(highest=10**12), "malformed"),
        (spoiled(agent=1), "malformed"),
        (spoiled(agent=...), "malformed"),
        (spoiled(cluster="Orders"), "malformed"),
        (spoiled(cluster="../orders"), "malformed"),
        (spoiled(version=2), "version"),
        (spoiled(version=True), "version"),
        (spoiled(node="i-00000000"), "contradiction"),
        (spoiled(reason="x" * 20_000), "huge"),
        ({**EVENT, "account": "210987654321"}, "account"),
        ({**EVENT, "source": f"baton.prod.node/AROANODE:{NODE}"}, "source"),
        ({**EVENT, "source": f"baton.lab.node/AROASTRANGER:{NODE}"}, "role"),
        ({**EVENT, "source": "baton.lab.node/AROANODE:session-name"}, "source"),
        ({**EVENT, "source": f"baton.lab.node/{NODE}"}, "role"),
        ({**EVENT, "source": "baton.lab"}, "source"),
        ({**EVENT, "source": None}, "source"),
        ({**EVENT, "detail": []}, "malformed"),
        ({**EVENT, "detail-type": "Baton News"}, "malformed"),
        ([], "malformed"),
        ({}, "account"),
    ],
)
def test_anything_else_is_rejected_with_its_reason(event: Any, reason: str) -> None:
    """One reason for the metric, one sentence for people."""
    rejected = decode(event, GATE)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason
    assert 0 < len(rejected.text) < 200


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(DETAIL)), junk)
def test_one_field_of_junk_is_taken_exactly_or_rejected(field: str, value: Any) -> None:
    """Never an exception, and never a word that was not said."""
    heard = decode(spoiled(**{field: value}), GATE)
    if isinstance(heard, Heard) and hasattr(heard.word, field):
        assert getattr(heard.word, field) == value
        assert type(value) is not float


@settings(max_examples=60, deadline=None)
@given(junk | st.fixed_dictionaries(dict.fromkeys(EVENT, junk)), junk)
def test_any_junk_is_rejected_without_an_exception(event: Any, detail: Any) -> None:
    """Whole events of junk, and good envelopes around junk."""
    assert isinstance(decode(event, GATE), Rejected)
    assert isinstance(decode({**EVENT, "detail": detail}, GATE), Rejected)
    assert isinstance(nodes_of(event), frozenset)


@pytest.mark.parametrize(
    ("source", "kind", "rest"),
    [
        ("aws.ec2", SIGNALS["aws.ec2"][0], {"detail": {"instance-id": NODE, "state": "stopped"}}),
        ("aws.ec2", SIGNALS["aws.ec2"][1], {"detail": {"instance-id": NODE}}),
        ("aws.ssm", SIGNALS["aws.ssm"][0], {"detail": {"instance-id": NODE, "status": "Success"}}),
        (
            "aws.health",
            SIGNALS["aws.health"][0],
            {"detail": {"affectedEntities": [{"entityValue": NODE}, {"entityValue": "vol-1"}, 7]}},
        ),
        ("aws.health", SIGNALS["aws.health"][0], {"detail": {}, "resources": [NODE, None]}),
        (
            "aws.ec2",
            SIGNALS["aws.ec2"][0],
            {"detail": {}, "resources": [f"arn:aws:ec2:eu-west-1:1:instance/{NODE}"]},
        ),
    ],
)
def test_native_events_name_their_nodes(source: str, kind: str, rest: dict[str, Any]) -> None:
    """Wherever AWS puts the instance id."""
    assert nodes_of({"source": source, "detail-type": kind, **rest}) == {NODE}


def test_other_events_name_no_nodes() -> None:
    """A node's word is no signal, nor is an event kind that nobody asked for."""
    assert nodes_of(EVENT) == frozenset()
    detail = {"instance-id": NODE, "status": "InProgress"}
    ssm = {"source": "aws.ssm", "detail-type": SIGNALS["aws.ssm"][0], "detail": detail}
    assert nodes_of(ssm) == frozenset()
    odd = {"source": "aws.ec2", "detail-type": "EBS", "detail": {"instance-id": NODE}}
    assert nodes_of(odd) == frozenset()
