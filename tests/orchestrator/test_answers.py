"""A node's answer is the last line of its output, and nothing that merely looks like it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.answers import answer_of
from chalicelib.events import BadWord
from chalicelib.model import Answer, Code, Command, Result, Verb

COMMAND = Command("i-0123456789abcdef0", Verb.RELEASE, 3, "boot", 100.0)
WORD: dict[str, Any] = {
    "sequence": 5,
    "state": "BACKUP",
    "priority": 253,
    "boot": "boot",
    "highest": 3,
    "released": 2,
    "serving": None,
    "agent": True,
}
SAID: dict[str, Any] = {
    "version": 1,
    "cluster": "orders",
    "action": "release",
    "epoch": 3,
    "result": "released",
    "code": "",
    "text": "ok",
    "word": WORD,
}


def told(status: str, output: str) -> Answer | None:
    """What is made of a command's status and output."""
    return answer_of("orders", COMMAND, {"Status": status, "StandardOutputContent": output})


@pytest.mark.parametrize("status", ["Success", "Failed"])
def test_an_answer_counts_whatever_the_exit_status(status: str) -> None:
    """The node script exits with a status of its own when it refuses or fails."""
    answer = told(status, f"stopping\nunmounting\n{json.dumps(SAID)}\n\n")
    assert answer is not None
    assert (answer.result, answer.code, answer.text) == (Result.RELEASED, Code.NONE, "ok")
    assert answer.word is not None
    assert (answer.word.node, answer.word.released) == (COMMAND.node, 2)


@pytest.mark.parametrize(
    "status", ["Pending", "InProgress", "Delayed", "TimedOut", "Cancelled", "Undeliverable", ""]
)
def test_no_other_status_is_an_answer(status: str) -> None:
    """They tell of the delivery: the command may have run all the same, or not."""
    assert told(status, json.dumps(SAID)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"cluster": "other"},
        {"action": "acquire"},
        {"epoch": 2},
        {"epoch": "3"},
        {"result": "fine"},
        {"result": None},
        {"word": 7},
        {"word": {}},
        {"word": {**WORD, "highest": "3"}},
    ],
)
def test_an_answer_to_something_else_or_in_another_form_is_none(changes: dict[str, Any]) -> None:
    """It is reported as unreadable, and counts as silence."""
    with pytest.raises(BadWord):
        told("Success", json.dumps({**SAID, **changes}))


def test_a_reason_of_newer_software_is_a_failure_like_any_other() -> None:
    """The result decides; the code only explains it."""
    answer = told("Failed", json.dumps({**SAID, "result": "failed", "code": "gremlins"}))
    assert answer is not None
    assert (answer.result, answer.code) == (Result.FAILED, Code.INTERNAL)


@settings(max_examples=100, deadline=None)
@given(st.text() | st.just("[" * 20_000) | st.just("null") | st.just("NaN"))
def test_any_output_is_an_answer_or_unreadable(output: str) -> None:
    """No output makes the driver stumble."""
    with pytest.raises(BadWord):
        told("Success", output)
