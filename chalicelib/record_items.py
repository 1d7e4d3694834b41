"""How a record lies in the items RECORD and WORDS, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final, TypeVar

from chalicelib.items import Item
from chalicelib.model import SCHEMA, Lease, Notice, Record, Word
from chalicelib.record_codec import Malformed, from_plain, to_plain

WORD: Final = "word:"
SAID: Final = "said:"
CONFIRMED: Final = "confirmed:"
NOTICE: Final = "notice:"
NOTICED: Final = "noticed:"
"""Prefixes of the attributes of WORDS; the node's id follows, and for notices the cause."""

T = TypeVar("T")


class UnreadableRecord(Exception):
    """The record was written by a later Baton, or is damaged: it is left alone."""


def body_text(record: Record) -> str:
    """What the driver alone writes, as JSON, without what has an attribute of its own."""
    bare = replace(record, version=0, words_version=0, words=(), notices=(), lease=None)
    return json.dumps(to_plain(bare))


def said_text(said: Word | Notice) -> str:
    """A node's word, or AWS's of it, as JSON."""
    return json.dumps(to_plain(said))


def decode(cluster: str, driver: Item | None, words: Item | None) -> Record | UnreadableRecord:
    """The record from its two items, either of which may be missing, or why it is unreadable."""
    try:
        return with_words(driver_half(cluster, driver or {}), words or {})
    except UnreadableRecord as error:
        return error


def driver_half(cluster: str, item: Item) -> Record:
    """What drivers wrote, with the lease. Raises UnreadableRecord."""
    schema = item.get("schema", SCHEMA)
    if schema > SCHEMA:
        raise UnreadableRecord(
            f"cluster {cluster}: its record is of schema {schema}, and this Baton knows schema"
            f" {SCHEMA} and earlier ones. A later Baton wrote it: deploy that version again. Until"
            " then this cluster is left alone."
        )
    if not item:
        return Record(cluster)
    record = _read(cluster, Record, item["body"])
    holder = item.get("lease_holder")
    lease = Lease(holder, float(item["lease_until"])) if holder else None
    return replace(record, version=item["version"], lease=lease)


def with_words(record: Record, item: Item) -> Record:
    """The record with the words and confirmations of the WORDS item, both newer or as new."""
    words = _each(record.cluster, Word, WORD, item)
    notices = _each(record.cluster, Notice, NOTICE, item)
    told = {name.removeprefix(CONFIRMED): epoch for name, epoch in item.items() if name.startswith(CONFIRMED)}
    version = item.get("version", 0)
    record = replace(record, words=words, notices=notices, words_version=version)
    return with_confirmed(record, told)


def with_confirmed(record: Record, told: dict[str, int]) -> Record:
    """The record with what people confirmed of nodes: epochs by node."""
    for node, epoch in told.items():
        seat = record.seat(node)
        if epoch > seat.confirmed:
            record = record.with_seat(replace(seat, confirmed=epoch, confirmed_at=None))
    return record


def _each(cluster: str, kind: type[T], prefix: str, item: Item) -> tuple[T, ...]:
    texts = [text for name, text in sorted(item.items()) if name.startswith(prefix)]
    return tuple(_read(cluster, kind, text) for text in texts)


def _read(cluster: str, kind: type[T], text: str) -> T:
    try:
        return from_plain(kind, json.loads(text))
    except (Malformed, json.JSONDecodeError) as error:
        raise UnreadableRecord(
            f"cluster {cluster}: its record in DynamoDB cannot be read ({error}). Either another"
            " version of Baton wrote it, or a person changed it. This cluster is left alone until"
            " that is mended."
        ) from None
