"""What AWS announces of nodes in its own events, and when: a Spot interruption, maintenance. Pure.

A sender is believed as AWS itself: EventBridge takes no event of anybody whose source begins with
`aws.`. Whether its node is one of ours is for the clusters' definitions to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from chalicelib.events import nodes_of
from chalicelib.model import Cause, Notice

SPOT_TYPE: Final = "EC2 Spot Instance Interruption Warning"

SPOT_SECONDS: Final = 120.0
"""How long after the warning EC2 stops or terminates the instance; hibernation begins at once."""

CALLED_OFF: Final = ("closed", "RESOLVED")
"""Status of an event of AWS Health that is done or called off, and of one of its instances."""


def notices_of(event: Mapping[str, Any], account: str) -> tuple[Notice, ...]:
    """What this event announces of instances of this account; nothing, for most. Never raises."""
    nodes, heard_at = sorted(nodes_of(event)), _moment(event.get("time"))
    if not nodes or heard_at is None or event.get("account") != account:
        return ()
    if event.get("detail-type") == SPOT_TYPE:
        at = heard_at + (0.0 if event["detail"].get("instance-action") == "hibernate" else SPOT_SECONDS)
        return tuple(Notice(node, Cause.SPOT, heard_at, at, at) for node in nodes)
    if event.get("source") == "aws.health" and _is_maintenance(event["detail"], account):
        return tuple(_maintenance(event["detail"], node, heard_at) for node in nodes)
    return ()


def _is_maintenance(detail: Mapping[str, Any], account: str) -> bool:
    """Whether an event of AWS Health is one after which an instance of ours is gone, or was away.

    An organization's administrator is sent the events of all its accounts.
    """
    return (
        detail.get("service") == "EC2"
        and detail.get("eventTypeCategory") == "scheduledChange"
        and str(detail.get("eventTypeCode")).endswith("_SCHEDULED")
        and detail.get("affectedAccount", account) == account
    )


def _maintenance(detail: Mapping[str, Any], node: str, heard_at: float) -> Notice:
    """Maintenance without a readable beginning may begin now."""
    at = _moment(detail.get("startTime")) or heard_at
    until = max(_moment(detail.get("endTime")) or at, at)
    over = CALLED_OFF[0] == detail.get("statusCode") or CALLED_OFF[1] in _status(detail, node)
    return Notice(node, Cause.MAINTENANCE, heard_at, at, until, over=over)


def _status(detail: Mapping[str, Any], node: str) -> list[Any]:
    affected = detail.get("affectedEntities")
    entities = affected if isinstance(affected, list) else []
    return [e.get("status") for e in entities if isinstance(e, Mapping) and e.get("entityValue") == node]


def _moment(text: Any) -> float | None:
    """POSIX seconds of a date: EventBridge writes ISO 8601, AWS Health that of mail headers."""
    if not isinstance(text, str):
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def text(notice: Notice) -> str:
    """A notice, for people."""
    if notice.over:
        return f"{notice.node}: AWS says that its {notice.cause.text} is over, or called off"
    at = datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds")
    return f"{notice.node}: {notice.cause.text} from {at} on"
