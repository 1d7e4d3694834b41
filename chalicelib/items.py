"""DynamoDB items as plain dictionaries of text, numbers and truth values."""

from __future__ import annotations

import time
from typing import Any, Final, TypeAlias

from chalicelib.clients import Client

Item: TypeAlias = dict[str, Any]

BATCH_MOST: Final = 100
"""Keys that one BatchGetItem takes."""

BATCH_TRIES: Final = 6
"""DynamoDB returns what it did not get to; asked again with a doubling pause from 20 ms."""


def key(cluster: str, sk: str) -> Item:
    """The key of one of a cluster's items."""
    return {"pk": {"S": f"CLUSTER#{cluster}"}, "sk": {"S": sk}}


def to_item(plain: Item) -> Item:
    """Attributes as DynamoDB wants them. Numbers travel as text, so no digit is lost."""
    return {name: _attribute(value) for name, value in plain.items()}


def from_item(item: Item) -> Item:
    """Attributes as plain values."""
    return {name: _value(attribute) for name, attribute in item.items()}


def _attribute(value: object) -> Item:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, (int, float)):
        return {"N": repr(value)}
    raise TypeError(f"cannot store a {type(value).__name__} in DynamoDB")


def _value(attribute: Item) -> str | bool | int | float:
    ((kind, value),) = attribute.items()
    if kind == "N":
        return int(value) if value.lstrip("-").isdigit() else float(value)
    if kind in ("S", "BOOL"):
        return value  # type: ignore[no-any-return]
    raise TypeError(f"an attribute of DynamoDB type {kind} is nothing that Baton writes")


def get_batch(client: Client, table: str, keys: list[Item]) -> dict[tuple[str, str], Item]:
    """Items of clusters by (cluster, sort key), each read consistently; a missing one is absent."""
    found: dict[tuple[str, str], Item] = {}
    asked: Item = {table: {"Keys": keys, "ConsistentRead": True}}
    for attempt in range(BATCH_TRIES):
        answer = client.batch_get_item(RequestItems=asked)
        for item in map(from_item, answer["Responses"].get(table, ())):
            found[item["pk"].partition("#")[2], item["sk"]] = item
        asked = answer.get("UnprocessedKeys") or {}
        if not asked:
            return found
        time.sleep(0.02 * 2**attempt)
    raise TimeoutError(
        f"DynamoDB left records of table {table} unread {BATCH_TRIES} times: it is throttled;"
        " the next sweep tries again"
    )


def query(client: Client, table: str, cluster: str, prefix: str, most: int) -> list[Item]:
    """A cluster's items whose sort key begins with this, the newest first, at most so many.

    One answer of DynamoDB ends at 1 MB, however many were asked for; each holds one item at least,
    so there are no more answers than items.
    """
    found: list[Item] = []
    asked: Item = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
        "ExpressionAttributeValues": to_item({":pk": f"CLUSTER#{cluster}", ":prefix": prefix}),
        "ScanIndexForward": False,
        "ConsistentRead": True,
    }
    for _ in range(most):
        answer = client.query(**asked, Limit=most - len(found))
        found += map(from_item, answer["Items"])
        if len(found) >= most or "LastEvaluatedKey" not in answer:
            break
        asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    return found
