"""The history of a cluster: one entry per epoch with its cause, its owner and its timeline."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from chalicelib.clients import Client
from chalicelib.items import Item, key, query, to_item
from chalicelib.model import Record
from chalicelib.record_codec import from_plain, to_plain

KEPT_SECONDS: Final = 400 * 24 * 3600
"""Over a year, for a comparison with the same season; then DynamoDB's TTL removes the entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one epoch. `marks`: its steps and their times."""

    epoch: int
    owner: str | None
    previous: str | None
    because: str
    granted_at: float
    settled: bool
    obstacle: str
    marks: tuple[tuple[str, float], ...]

    def turned(self, later: Entry) -> bool:
        """Whether the epoch has reached a point since then that history should tell."""
        return _turning_points(self) != _turning_points(later)


def _turning_points(entry: Entry) -> tuple[object, ...]:
    return entry.epoch, entry.owner, entry.settled, entry.obstacle


def entry_of(record: Record) -> Entry:
    """The record's current epoch as history tells it."""
    return Entry(
        epoch=record.epoch,
        owner=record.owner,
        previous=record.previous,
        because=record.because,
        granted_at=record.granted_at,
        settled=record.settled,
        obstacle=f"{record.obstacle.reason}: {record.obstacle.text}" if record.obstacle else "",
        marks=record.marks,
    )


def history_put(table: str, record: Record) -> Item:
    """The write of the entry; part of the transaction that stores the record."""
    entry = entry_of(record)
    body = json.dumps(to_plain(entry))
    expires = int(record.granted_at) + KEPT_SECONDS
    content = {"epoch": entry.epoch, "body": body, "expires": expires}
    sk = f"EPOCH#{entry.epoch:012d}"
    return {"TableName": table, "Item": key(record.cluster, sk) | to_item(content)}


def read_history(client: Client, table: str, cluster: str, most: int = 20) -> list[Entry]:
    """The last epochs, the newest first."""
    items = query(client, table, cluster, "EPOCH#", most)
    return [from_plain(Entry, json.loads(item["body"])) for item in items]
