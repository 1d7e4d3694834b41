"""EventBridge events to words, strictly; and which nodes a native event of AWS is about. Pure.

Who speaks is told by the event's `source` alone, `baton.<stage>.node/<role id>:<instance id>`:
IAM lets a node's role send no other, since the condition `events:source` is filled in from
`aws:userid`. Nothing binds `detail`; it may repeat the node, but never contradict the source.
Anything that is not exactly a word is rejected with one sentence, and changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.model import Vrrp, Word

WORD_TYPE: Final = "Baton Word"
VERSION: Final = 1

DETAIL_MOST: Final = 16_384
"""Bytes of a detail; a word is about 400. EventBridge would carry 256 KB of anything."""

INTEGER_MOST: Final = 2**53 - 1
"""Largest sequence: what JSON carries exactly everywhere. In milliseconds that is far away."""

EPOCH_MOST: Final = 10**12 - 1
"""An epoch has at most 12 digits: history sorts by them, and nodes refuse more."""

SIGNALS: Final = {
    "aws.ec2": (
        "EC2 Instance State-change Notification",
        "EC2 Spot Instance Interruption Warning",
        "EC2 Instance Rebalance Recommendation",
    ),
    "aws.ssm": ("EC2 Command Invocation Status-change Notification",),
    "aws.health": ("AWS Health Event",),
}
"""What AWS itself tells: best effort, so it only ever makes Baton look sooner."""

UNDER_WAY: Final = ("Pending", "InProgress", "Delayed", "Cancelling")
"""Statuses of a command that nobody has to look at yet."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
_BOOT = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Gate:
    """Whose words are let in: our stage, our account, the role ids of our nodes."""

    stage: str
    account: str
    role_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Heard:
    """A well-formed word for a cluster. `config`: hash of the node's configuration."""

    cluster: str
    word: Word
    kind: str = ""
    config: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that is no word. `reason` is for metrics, `text` for people."""

    reason: str
    text: str


class BadWord(ValueError):
    """What was said is no word, and why."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.rejected = Rejected(reason, text)


def decode(event: Any, gate: Gate) -> Heard | Rejected:
    """The word in an EventBridge event, or why there is none. Never raises."""
    try:
        if not isinstance(event, Mapping):
            raise BadWord("malformed", "the event is not an object")
        node = _speaker(event, gate)
        return _heard(_detail(event), node)
    except BadWord as bad:
        return bad.rejected


def _speaker(event: Mapping[str, Any], gate: Gate) -> str:
    """The instance that IAM lets speak under this source."""
    if event.get("account") != gate.account:
        shown = _shown(event.get("account"))
        raise BadWord("account", f"the event is of account {shown}, not of {gate.account}")
    prefix, source = f"baton.{gate.stage}.node/", event.get("source")
    if not isinstance(source, str) or not source.startswith(prefix):
        raise BadWord("source", f"the source {_shown(source)} is none of stage {gate.stage}'s nodes")
    role_id, _, node = source.removeprefix(prefix).partition(":")
    if role_id not in gate.role_ids:
        raise BadWord("role", f"{_shown(source)} is not sent by a role of stage {gate.stage}'s nodes")
    if not _INSTANCE.fullmatch(node):
        raise BadWord("source", f"the source {_shown(source)} does not end with an instance id")
    return node


def _detail(event: Mapping[str, Any]) -> Mapping[str, Any]:
    if event.get("detail-type") != WORD_TYPE:
        raise BadWord("malformed", f"detail-type is {_shown(event.get('detail-type'))}")
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise BadWord("malformed", f"detail must be an object, not {_shown(detail)}")
    if _size(detail) > DETAIL_MOST:
        raise BadWord("huge", f"detail has more than {DETAIL_MOST} bytes")
    return detail


def _size(detail: Mapping[str, Any]) -> int:
    try:
        return len(json.dumps(detail))
    except (TypeError, ValueError, RecursionError):
        raise BadWord("malformed", "detail is not JSON") from None


def _heard(detail: Mapping[str, Any], node: str) -> Heard:
    if detail.get("version") != VERSION or isinstance(detail.get("version"), bool):
        raise BadWord("version", f"detail.version is {_shown(detail.get('version'))}, not {VERSION}")
    if detail.get("node", node) != node:
        shown = _shown(detail["node"])
        raise BadWord("contradiction", f"detail.node is {shown}, but the source says {node}")
    word = word_of(detail, node)
    cluster = _text(detail, "cluster", _NAME)
    return Heard(cluster, word, _free(detail, "kind"), _free(detail, "config"))


def word_of(detail: Mapping[str, Any], node: str) -> Word:
    """The word that a node's JSON carries. Raises BadWord naming the field."""
    serving = detail.get("serving")
    return Word(
        node=node,
        state=_state(detail),
        sequence=_integer(detail, "sequence", 1, INTEGER_MOST),
        boot=_text(detail, "boot", _BOOT),
        priority=_integer(detail, "priority", 0, 255),
        highest=_integer(detail, "highest", 0, EPOCH_MOST),
        released=_integer(detail, "released", 0, EPOCH_MOST),
        serving=None if serving is None else _integer(detail, "serving", 0, EPOCH_MOST),
        agent=_truth(detail, "agent"),
    )


def _state(detail: Mapping[str, Any]) -> Vrrp:
    state = detail.get("state")
    if not isinstance(state, str) or state not in list(Vrrp):
        raise BadWord("malformed", f"detail.state is {_shown(state)}, not one of {', '.join(Vrrp)}")
    return Vrrp(state)


def _integer(detail: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = detail.get(name)
    if type(value) is not int or not least <= value <= most:
        raise BadWord("malformed", f"detail.{name} is {_shown(value)}, not between {least} and {most}")
    return value


def _text(detail: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = detail.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadWord("malformed", f"detail.{name} cannot be {_shown(value)}")
    return value


def _truth(detail: Mapping[str, Any], name: str) -> bool:
    value = detail.get(name)
    if not isinstance(value, bool):
        raise BadWord("malformed", f"detail.{name} is {_shown(value)}, not true or false")
    return value


def _free(detail: Mapping[str, Any], name: str) -> str:
    """A field that nothing is decided by."""
    value = detail.get(name)
    return value[:80] if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ----------------------------------------------------------------------------------- signals


def nodes_of(event: Any) -> frozenset[str]:
    """The instances that a native event of AWS is about; none if it is about none. Never raises."""
    if not isinstance(event, Mapping) or not isinstance(event.get("detail"), Mapping):
        return frozenset()
    if event.get("detail-type") not in SIGNALS.get(str(event.get("source")), ()):
        return frozenset()
    if event["source"] == "aws.ssm" and event["detail"].get("status") in UNDER_WAY:
        return frozenset()
    return frozenset(
        name for name in _named(event, event["detail"]) if isinstance(name, str) and _INSTANCE.fullmatch(name)
    )


def _named(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Iterator[Any]:
    yield detail.get("instance-id")
    affected = detail.get("affectedEntities")
    for entity in affected if isinstance(affected, list) else ():
        if isinstance(entity, Mapping):
            yield entity.get("entityValue")
    resources = event.get("resources")
    for arn in resources if isinstance(resources, list) else ():
        yield str(arn).rpartition("/")[2]
