"""How many nodes may be stopped over the whole fleet: a broken Baton must not stop a fleet."""

from __future__ import annotations

import json
from typing import Final

from botocore.exceptions import ClientError

from chalicelib import timing
from chalicelib.aws_errors import lost_conditions
from chalicelib.clients import Client
from chalicelib.items import from_item, to_item

KEY: Final = {"pk": {"S": "FLEET"}, "sk": {"S": "FENCES"}}

TRIES_MOST: Final = 8
"""Drivers that fence at the same moment take turns; at most `FENCES_MOST` of them succeed."""


class Fences:
    """The fleet's budget of Stops, in one item that every spender writes conditionally."""

    def __init__(self, client: Client, table: str) -> None:
        self._client = client
        self._table = table

    def spend(self, node: str, now: float) -> bool:
        """Take one Stop from the budget of the window. False: it is used up.

        A node that was paid for within the window is not paid for again when its Stop is resent.
        """
        for _ in range(TRIES_MOST):
            version, spent = self._read(now)
            if node in spent:
                return True
            if len(spent) >= timing.FENCES_MOST:
                return False
            if self._write(version, {**spent, node: now}):
                return True
        return False

    def _read(self, now: float) -> tuple[int, dict[str, float]]:
        got = self._client.get_item(TableName=self._table, Key=KEY, ConsistentRead=True)
        item = from_item(got.get("Item", {}))
        spent: dict[str, float] = json.loads(item.get("spent", "{}"))
        since = now - timing.FENCE_WINDOW_SECONDS
        return item.get("version", 0), {node: at for node, at in spent.items() if at > since}

    def _write(self, version: int, spent: dict[str, float]) -> bool:
        item = to_item({"version": version + 1, "spent": json.dumps(spent)})
        try:
            self._client.put_item(
                TableName=self._table,
                Item=KEY | item,
                ConditionExpression="attribute_not_exists(version) OR version = :version",
                ExpressionAttributeValues=to_item({":version": version}),
            )
        except ClientError as error:
            lost_conditions(error)
            return False
        return True
