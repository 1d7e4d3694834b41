"""What people did to a cluster, written into its record before it is done: who, when, what, why."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from chalicelib.aws_errors import lost_conditions
from chalicelib.history import KEPT_SECONDS
from chalicelib.items import key, query, to_item
from chalicelib.record_items import CONFIRMED
from cli.session import Session
from infra.account import Trouble

PREFIX: Final = "AUDIT#"
DIGITS: Final = 15
"""Milliseconds since 1970 have 13 digits until 2286; a fixed width keeps the sort key in order."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did. `at`: POSIX seconds."""

    at: float
    who: str
    what: str
    why: str


def note(session: Session, cluster: str, what: str, why: str) -> None:
    """Writes down a deed that is about to be done."""
    session.client("dynamodb").put_item(**_put(session, cluster, what, why))


def confirm_fenced(session: Session, cluster: str, node: str, epoch: int, why: str) -> None:
    """Tells the driver that a person vouches for this node being off, in this epoch, and audits it.

    Only while the epoch is the one that the person was shown: what they looked at before they typed
    says nothing of a node that has owned, or been started, since. Raises the version of the words, so
    that a driver that is about to stop looks again. Raises Trouble if the epoch is another by now.
    """
    same = {
        "TableName": session.names.table,
        "Key": key(cluster, "RECORD"),
        "ConditionExpression": "epoch = :epoch",
        "ExpressionAttributeValues": to_item({":epoch": epoch}),
    }
    told = {
        "TableName": session.names.table,
        "Key": key(cluster, "WORDS"),
        "UpdateExpression": "SET #confirmed = :epoch ADD version :one",
        "ExpressionAttributeNames": {"#confirmed": f"{CONFIRMED}{node}"},
        "ExpressionAttributeValues": to_item({":epoch": epoch, ":one": 1}),
    }
    deed = _put(session, cluster, f"confirmed in epoch {epoch} that {node} is off", why)
    steps = [{"ConditionCheck": same}, {"Put": deed}, {"Update": told}]
    try:
        session.client("dynamodb").transact_write_items(TransactItems=steps)
    except ClientError as error:
        moved, *_ = lost_conditions(error)
        what = f"is not in epoch {epoch} any more" if moved else "is just being written"
        text = f"{cluster} {what}: look at it again (`./baton status {cluster}`). Nothing was changed."
        raise Trouble(text) from error


def deeds(session: Session, cluster: str, most: int) -> list[Deed]:
    """The last deeds, the newest first."""
    items = query(session.client("dynamodb"), session.names.table, cluster, PREFIX, most)
    return [Deed(**json.loads(item["body"])) for item in items]


def _put(session: Session, cluster: str, what: str, why: str) -> dict[str, Any]:
    now = time.time()
    content = {
        "body": json.dumps(asdict(Deed(now, session.who, what, why))),
        "expires": int(now) + KEPT_SECONDS,
    }
    return {
        "TableName": session.names.table,
        "Item": key(cluster, f"{PREFIX}{int(now * 1000):0{DIGITS}d}") | to_item(content),
        # Two deeds in one millisecond: the second is refused, and nothing is done unaudited.
        "ConditionExpression": "attribute_not_exists(pk)",
    }
