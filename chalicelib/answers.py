"""What a node answered to a command: the last line of its output, taken strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.events import BadWord, word_of
from chalicelib.model import Answer, Code, Command, Result

VERSION: Final = 1

ANSWERED: Final = frozenset({"Success", "Failed"})
"""Statuses of a command that ran to its end, whatever it then said. The others (TimedOut,
Cancelled, Undeliverable, Terminated …) say what became of the *delivery*: a lost reply reads as
a time-out although the command ran, so they are no answer at all."""

TEXT_MOST: Final = 500


def answer_of(cluster: str, command: Command, invocation: Mapping[str, Any]) -> Answer | None:
    """The answer in SSM's account of a command; None if it is under way or gave none.

    Raises BadWord for output that is not what the node script prints.
    """
    if invocation.get("Status") not in ANSWERED:
        return None
    lines = str(invocation.get("StandardOutputContent", "")).strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, Mapping):
        raise BadWord("answer", "the last line of its output is not a JSON object")
    _check(cluster, command, said)
    word = said.get("word")
    if word is not None and not isinstance(word, Mapping):
        raise BadWord("answer", "its word is not an object")
    return Answer(
        result=_result(said),
        code=_code(said),
        word=None if word is None else word_of(word, command.node),
        text=str(said.get("text", ""))[:TEXT_MOST],
    )


def _check(cluster: str, command: Command, said: Mapping[str, Any]) -> None:
    """That this is the answer to that command, and not what some other run left behind."""
    meant = {
        "version": VERSION,
        "cluster": cluster,
        "action": command.verb.value,
        "epoch": command.epoch,
    }
    for name, value in meant.items():
        if said.get(name) != value:
            raise BadWord("answer", f"{name} is {said.get(name)!r}, not {value!r}")


def _result(said: Mapping[str, Any]) -> Result:
    try:
        return Result(str(said.get("result")))
    except ValueError:
        raise BadWord("answer", f"result is {said.get('result')!r}") from None


def _code(said: Mapping[str, Any]) -> Code:
    try:
        return Code(said.get("code", ""))
    except ValueError:
        # Newer software on the node may have reasons that this version does not know.
        return Code.INTERNAL
