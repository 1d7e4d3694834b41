"""A cluster's record in DynamoDB: the authority on who drives, who owns, and what was said.

Theory of operation
-------------------
Two items, because two parties write:

    sk=RECORD  the driver's half with its lease; every write is conditional on the version that the
               driver read, on the lease being its own, and on the lease not being over
    sk=WORDS   each node's latest word, what people confirmed, and what AWS announced of nodes; a word
               is conditional on that node's sequence alone, so that nodes never wait for each other
               or for a driver

All words of a cluster live in one item: one consistent read gives them together with `version`,
which every change of any of them raises in the same write. Items per node and a counter would
need a transaction for each word, and a reader could see one without the other; words inside
RECORD would make each heartbeat pay for the size of the whole record.

Giving up the lease is conditional on the words' version that was last decided on. A word that
came before is seen by this driver; the sender of a word that comes after finds the lease free
and drives itself. So no wake-up is lost.

*Guarantee.* No write of a driver whose lease is over, or who decided on an old version, lands.
*Assumption.* Drivers' clocks agree within seconds: a lease compares them.
*Not guaranteed.* That a driver which was suspended between its last check of the lease and a call
to EC2 does not send that call late; the sweep observes and repairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from botocore.exceptions import ClientError

from chalicelib import timing
from chalicelib.aws_errors import lost_conditions, stored_item
from chalicelib.clients import Client
from chalicelib.history import entry_of, history_put
from chalicelib.items import BATCH_MOST, Item, from_item, get_batch, key, to_item
from chalicelib.model import SCHEMA, Lease, Notice, Record, Word
from chalicelib.record_items import (
    NOTICE,
    NOTICED,
    SAID,
    WORD,
    UnreadableRecord,
    body_text,
    decode,
    driver_half,
    said_text,
    with_confirmed,
    with_words,
)

CONFLICTS_MOST: Final = 5
"""Tries of a write that met a transaction on the same item; each is over within milliseconds."""


class Store:
    """The records of one deployment's clusters."""

    def __init__(self, client: Client, table: str) -> None:
        self.client = client
        self.table = table

    # ------------------------------------------------------------------------------- reading

    def load(self, cluster: str) -> Record:
        """The record with all words, as of now. Raises UnreadableRecord."""
        loaded = self.load_many([cluster])[cluster]
        if isinstance(loaded, UnreadableRecord):
            raise loaded
        return loaded

    def load_many(self, clusters: Iterable[str]) -> dict[str, Record | UnreadableRecord]:
        """Many records in few calls; one that cannot be read does not hinder the others."""
        names = list(clusters)
        loaded: dict[str, Record | UnreadableRecord] = {}
        for start in range(0, len(names), BATCH_MOST // 2):
            part = names[start : start + BATCH_MOST // 2]
            keys = [key(name, sk) for name in part for sk in ("RECORD", "WORDS")]
            items = get_batch(self.client, self.table, keys)
            for name in part:
                loaded[name] = decode(name, items.get((name, "RECORD")), items.get((name, "WORDS")))
        return loaded

    def _words(self, cluster: str) -> Item:
        got = self.client.get_item(TableName=self.table, Key=key(cluster, "WORDS"), ConsistentRead=True)
        return from_item(got.get("Item", {}))

    def words_versions(self, clusters: Iterable[str]) -> dict[str, int]:
        """How often words of these clusters were written; a cluster without any is absent."""
        names, versions = list(clusters), {}
        for start in range(0, len(names), BATCH_MOST):
            keys = [key(name, "WORDS") for name in names[start : start + BATCH_MOST]]
            for (name, _), item in get_batch(self.client, self.table, keys).items():
                versions[name] = int(item["version"])
        return versions

    # ------------------------------------------------------------------------------- writing

    def accept(self, cluster: str, word: Word) -> bool:
        """Write a node's word if it is newer than its last, whoever drives. False: it is not."""
        failed = _refused(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=key(cluster, "WORDS"),
                UpdateExpression="SET #word = :word, #said = :said ADD version :one",
                ConditionExpression="attribute_not_exists(#said) OR #said < :said",
                ExpressionAttributeNames={
                    "#word": f"{WORD}{word.node}",
                    "#said": f"{SAID}{word.node}",
                },
                ExpressionAttributeValues=to_item(
                    {":word": said_text(word), ":said": word.sequence, ":one": 1}
                ),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        )
        # The SDK sends a write again if it lost the reply: then the word that is there is ours.
        there = from_item(stored_item(failed)) if failed else {}
        return failed is None or there.get(f"{WORD}{word.node}") == said_text(word)

    def notice(self, cluster: str, notice: Notice) -> bool:
        """Write what AWS announced, if it is newer than its last of this cause. False: it is not."""
        of = f"{notice.node}:{notice.cause.value}"
        failed = _refused(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=key(cluster, "WORDS"),
                UpdateExpression="SET #notice = :notice, #heard = :heard ADD version :one",
                ConditionExpression="attribute_not_exists(#heard) OR #heard < :heard",
                ExpressionAttributeNames={"#notice": f"{NOTICE}{of}", "#heard": f"{NOTICED}{of}"},
                ExpressionAttributeValues=to_item(
                    {":notice": said_text(notice), ":heard": notice.heard_at, ":one": 1}
                ),
            )
        )
        return failed is None

    def nudge(self, cluster: str) -> None:
        """Make whoever drives this cluster look again, as a word would: something happened."""
        _refused(
            lambda: self.client.update_item(
                TableName=self.table,
                Key=key(cluster, "WORDS"),
                UpdateExpression="ADD version :one",
                ExpressionAttributeValues=to_item({":one": 1}),
            )
        )

    def take(self, record: Record, holder: str, now: float, until: float) -> Record | None:
        """Take the lease if nobody else holds an unexpired one. None: somebody drives.

        The record returned has the driver's half as it is stored now, and the words of `record`.
        """
        taken: dict[str, Any] = {}
        failed = _refused(
            lambda: taken.update(self.client.update_item(**self._take(record, holder, now, until)))
        )
        if failed:
            return None
        stored = driver_half(record.cluster, from_item(taken["Attributes"]))
        confirmed = {seat.node: seat.confirmed for seat in record.seats}
        return with_confirmed(
            replace(
                stored,
                words=record.words,
                notices=record.notices,
                words_version=record.words_version,
            ),
            confirmed,
        )

    def _take(self, record: Record, holder: str, now: float, until: float) -> dict[str, Any]:
        values = {
            ":me": holder,
            ":until": until,
            ":now": now,
            ":schema": SCHEMA,
            ":zero": 0,
            ":one": 1,
            ":body": body_text(Record(record.cluster)),
        }
        return {
            "TableName": self.table,
            "Key": key(record.cluster, "RECORD"),
            "UpdateExpression": (
                "SET lease_holder = :me, lease_until = :until, #schema = :schema,"
                " version = if_not_exists(version, :zero) + :one,"
                " epoch = if_not_exists(epoch, :zero), body = if_not_exists(body, :body)"
            ),
            "ConditionExpression": (
                "(attribute_not_exists(#schema) OR #schema <= :schema) AND"
                " (attribute_not_exists(lease_holder) OR lease_holder = :me OR lease_until < :now)"
            ),
            "ExpressionAttributeNames": {"#schema": "schema"},
            "ExpressionAttributeValues": to_item(values),
            "ReturnValues": "ALL_NEW",
        }

    def persist(self, record: Record, former: Record | None, now: float) -> Record | None:
        """Store the driver's half and renew the lease. None: the lease is lost, stop.

        `former` is what this driver knew to be stored before: at a turning point of the epoch
        (granted, settled, blocked) the history entry is written in the same transaction.
        """
        if record.lease is None:
            return None
        until = max(record.lease.until, now + timing.LEASE_SECONDS)
        lease = replace(record.lease, until=until)
        stored = replace(record, version=record.version + 1, lease=lease)
        update = self._persist(stored, lease, now)
        if former is not None and not entry_of(former).turned(entry_of(stored)):
            failed = _refused(lambda: self.client.update_item(**update))
        else:
            steps = [{"Update": update}, {"Put": history_put(self.table, stored)}]
            failed = _refused(lambda: self.client.transact_write_items(TransactItems=steps))
        if failed and not _is_same(from_item(stored_item(failed)), stored, lease):
            return None
        return with_words(stored, self._words(record.cluster))

    def _persist(self, stored: Record, lease: Lease, now: float) -> dict[str, Any]:
        values = {
            ":body": body_text(stored),
            ":epoch": stored.epoch,
            ":next": stored.version,
            ":until": lease.until,
            ":version": stored.version - 1,
            ":me": lease.holder,
            ":now": now,
        }
        return {
            "TableName": self.table,
            "Key": key(stored.cluster, "RECORD"),
            "UpdateExpression": ("SET body = :body, epoch = :epoch, version = :next, lease_until = :until"),
            "ConditionExpression": ("version = :version AND lease_holder = :me AND lease_until > :now"),
            "ExpressionAttributeValues": to_item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def give_up(self, record: Record) -> bool:
        """Let go of the lease. False: words came since those in `record`, decide again.

        True as well if the lease is not this driver's any more: there is nothing to give up.
        """
        if record.lease is None:
            return True
        try:
            self.client.transact_write_items(TransactItems=self._give_up(record, record.lease))
        except ClientError as error:
            words_changed, *lease_lost = lost_conditions(error)
            return not words_changed and any(lease_lost)
        return True

    def _give_up(self, record: Record, lease: Lease) -> list[dict[str, Any]]:
        never = " OR attribute_not_exists(version)" if record.words_version == 0 else ""
        same_words = {
            "TableName": self.table,
            "Key": key(record.cluster, "WORDS"),
            "ConditionExpression": f"version = :version{never}",
            "ExpressionAttributeValues": to_item({":version": record.words_version}),
        }
        let_go = {
            "TableName": self.table,
            "Key": key(record.cluster, "RECORD"),
            "UpdateExpression": "REMOVE lease_holder, lease_until",
            "ConditionExpression": "lease_holder = :me AND version = :version",
            "ExpressionAttributeValues": to_item({":me": lease.holder, ":version": record.version}),
        }
        return [{"ConditionCheck": same_words}, {"Update": let_go}]


def _refused(write: Callable[[], object]) -> ClientError | None:
    """Do a conditional write; the error if its condition failed. One that merely met a
    transaction on the same item is tried again."""
    for _ in range(CONFLICTS_MOST - 1):
        try:
            write()
        except ClientError as error:
            if any(lost_conditions(error)):
                return error
        else:
            return None
    write()
    return None


def _is_same(item: Item, stored: Record, lease: Lease) -> bool:
    """Whether what is there is the very write that failed: the SDK sent it twice."""
    return (item.get("version"), item.get("lease_holder"), item.get("body")) == (
        stored.version,
        lease.holder,
        body_text(stored),
    )
