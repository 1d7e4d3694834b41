"""The record's codec: a round trip changes nothing, and nothing malformed gets in."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import model
from chalicelib.record_codec import Malformed, from_plain, to_plain

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def anything(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the model, with short tuples, so that a record stays readable."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return st.one_of([anything(member) for member in typing.get_args(hint)])
    if typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        if parts[-1] is Ellipsis:
            return st.lists(anything(parts[0]), max_size=2).map(tuple)
        return st.tuples(*[anything(part) for part in parts])
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{name: anything(h) for name, h in hints.items()})  # type: ignore[arg-type]
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if hint is str:
        return st.text(max_size=4)
    return st.from_type(hint)


records = anything(model.Record)


@settings(max_examples=60, deadline=None)
@given(records)
def test_a_record_survives_the_round_trip_through_json(record: model.Record) -> None:
    """Encoding to JSON text and back gives an equal record."""
    text = json.dumps(to_plain(record), allow_nan=False)
    assert from_plain(model.Record, json.loads(text)) == record


@settings(max_examples=150, deadline=None)
@given(json_values)
def test_any_json_is_decoded_or_refused_as_malformed(plain: object) -> None:
    """No JSON value raises anything but Malformed."""
    try:
        value = from_plain(model.Seat, plain)
    except Malformed:
        return
    assert isinstance(value, model.Seat)


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ({"cluster": "a", "colour": 1}, "colour"),
        ({"cluster": 7}, "Record.cluster"),
        ({"cluster": "a", "epoch": True}, "Record.epoch"),
        ({"cluster": "a", "epoch": "7"}, "Record.epoch"),
        ({}, "lacks"),
        ({"cluster": "a", "marks": [["x"]]}, "Record.marks[0]"),
        ({"cluster": "a", "intents": [{"action": {}, "epoch": 1, "at": 1}]}, "kind"),
        ({"cluster": "a", "intents": [{"action": {"kind": "Send"}, "epoch": 1, "at": 1}]}, "Send"),
        ([], "not an object"),
    ],
)
def test_malformed_data_is_refused_naming_the_place(plain: object, says: str) -> None:
    """A wrong type, an unknown field or kind, a missing field: each named."""
    with pytest.raises(Malformed) as caught:
        from_plain(model.Record, plain)
    assert says in str(caught.value)


def test_defaults_are_not_stored() -> None:
    """A fresh record is its name and nothing else, so fields may gain defaults later."""
    assert to_plain(model.Record("orders")) == {"cluster": "orders"}
