"""The record in DynamoDB: who may write what, and when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chalicelib import timing
from chalicelib.history import read_history
from chalicelib.items import key, to_item
from chalicelib.model import Obstacle, Reason, Record, Vrrp, Word
from chalicelib.record_items import UnreadableRecord
from chalicelib.store import Store

NOW = 1_764_376_490.25
A, B = "i-a", "i-b"


def word(node: str, sequence: int, state: Vrrp = Vrrp.MASTER) -> Word:
    """A word of a node."""
    return Word(node=node, state=state, sequence=sequence, boot="boot")


def taken(store: Store, holder: str = "me", now: float = NOW) -> Record:
    """The record with a lease that was just taken."""
    record = store.take(store.load("orders"), holder, now, now + timing.LEASE_SECONDS)
    assert record is not None
    return record


def test_a_cluster_never_seen_has_an_empty_record(store: Store) -> None:
    """Loading what is not there is not an error."""
    assert store.load("orders") == Record("orders")


def test_what_is_persisted_is_loaded_again(store: Store) -> None:
    """All of the driver's half survives, and the version grows by one with each write."""
    first = taken(store)
    changed = replace(first, epoch=7, owner=A, because="why", marks=(("granted", 1.5),))
    stored = store.persist(changed, first, NOW)
    assert stored is not None
    assert stored.version == first.version + 1
    assert store.load("orders") == stored


def test_an_older_or_equal_word_does_not_replace_a_newer_one(store: Store) -> None:
    """A node's words are ordered by its own sequence, whatever the order of delivery."""
    assert store.accept("orders", word(A, 5))
    assert not store.accept("orders", word(A, 4, Vrrp.FAULT))
    assert not store.accept("orders", word(A, 5, Vrrp.FAULT))
    assert store.accept("orders", word(B, 1))
    record = store.load("orders")
    assert record.words == (word(A, 5), word(B, 1))
    assert record.words_version == 2


def test_a_word_that_was_sent_twice_by_the_sdk_counts_as_accepted(store: Store) -> None:
    """The reply to the first copy was lost; the second finds its own word there."""
    assert store.accept("orders", word(A, 5))
    assert store.accept("orders", word(A, 5))
    assert store.load("orders").words_version == 1


def test_one_of_many_drivers_gets_the_lease(store: Store) -> None:
    """However many ask at once, one holds it."""
    record = store.load("orders")
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: store.take(record, f"driver {i}", NOW, NOW + 30), range(8)))
    holders = [r.lease.holder for r in got if r is not None and r.lease is not None]
    assert len(holders) == 1
    lease = store.load("orders").lease
    assert lease is not None
    assert lease.holder == holders[0]


def test_a_lease_that_is_over_is_taken_and_the_late_driver_writes_no_more(store: Store) -> None:
    """The successor's record is not changed by its predecessor."""
    slow = taken(store, "slow")
    later = NOW + timing.LEASE_SECONDS + 1
    new = taken(store, "new", later)
    assert store.persist(replace(slow, owner=B), slow, NOW + 1) is None
    assert store.persist(replace(slow, owner=B), slow, later) is None
    assert store.load("orders") == new


def test_a_driver_whose_lease_ran_out_does_not_write_although_nobody_took_it(store: Store) -> None:
    """The lease is checked at each write, not only who holds it."""
    record = taken(store)
    late = NOW + timing.LEASE_SECONDS + 1
    assert store.persist(replace(record, owner=B), record, late) is None
    assert store.load("orders").owner is None


def test_a_driver_that_decided_on_an_old_version_does_not_write(store: Store) -> None:
    """Two writes from one version: the second is refused."""
    record = taken(store)
    assert store.persist(replace(record, owner=A), record, NOW) is not None
    assert store.persist(replace(record, owner=B), record, NOW) is None
    assert store.load("orders").owner == A


@pytest.mark.parametrize("turning", [True, False])
def test_a_write_that_the_sdk_sent_twice_is_not_a_lost_lease(store: Store, turning: bool) -> None:
    """The second copy fails its condition, and finds the very record it meant to write."""
    record = taken(store)
    changed = replace(record, because="again", epoch=3 if turning else 0)
    first = store.persist(changed, record, NOW)
    assert first is not None
    assert store.persist(changed, record, NOW) == first


def test_persist_renews_the_lease_and_brings_the_words_that_came_meanwhile(store: Store) -> None:
    """The reply holds what was accepted while this driver was busy."""
    record = taken(store)
    store.accept("orders", word(A, 9))
    stored = store.persist(record, record, NOW + 10)
    assert stored is not None
    assert stored.words == (word(A, 9),)
    assert stored.lease is not None
    assert stored.lease.until == NOW + 10 + timing.LEASE_SECONDS


def test_the_lease_is_not_given_up_while_a_word_is_undecided(store: Store) -> None:
    """A word that came after the last decision keeps the driver driving."""
    record = taken(store)
    store.accept("orders", word(A, 9))
    assert not store.give_up(record)
    assert store.load("orders").lease == record.lease
    seen = replace(record, words_version=store.load("orders").words_version)
    assert store.give_up(seen)
    assert store.load("orders").lease is None


def test_giving_up_a_lease_that_somebody_else_took_leaves_it_to_him(store: Store) -> None:
    """There is nothing to give up, and the successor keeps driving."""
    slow = taken(store, "slow")
    new = taken(store, "new", NOW + timing.LEASE_SECONDS + 1)
    assert store.give_up(slow)
    assert store.load("orders").lease == new.lease


def test_accept_needs_no_lease_and_never_blocks_the_driver(store: Store) -> None:
    """Words do not raise the driver's version."""
    record = taken(store)
    for sequence in range(1, 5):
        assert store.accept("orders", word(A, sequence))
    assert store.persist(replace(record, owner=A), record, NOW) is not None


def test_concurrent_words_of_all_nodes_are_all_kept(store: Store) -> None:
    """The words' version counts each accepted word, whatever the interleaving."""
    said = [word(f"i-{n}", sequence) for sequence in (1, 2, 3) for n in range(4)]
    with ThreadPoolExecutor(8) as pool:
        accepted = sum(pool.map(lambda w: store.accept("orders", w), said))
    record = store.load("orders")
    assert record.words_version == accepted
    assert [w.sequence for w in record.words] == [3, 3, 3, 3]


def test_history_tells_each_epoch_once_with_its_end(store: Store) -> None:
    """Granted, blocked and settled end up in one entry per epoch, the newest first."""
    record = taken(store)
    for epoch in (1, 2):
        granted = replace(
            record, epoch=epoch, owner=A, settled=False, granted_at=NOW, because=f"reason {epoch}"
        )
        blocked = replace(granted, obstacle=Obstacle(Reason.NO_FENCE, "wait", NOW))
        settled = replace(blocked, obstacle=None, settled=True, marks=(("settled", NOW),))
        for step in (granted, blocked, settled):
            stored = store.persist(replace(step, version=record.version), record, NOW)
            assert stored is not None
            record = stored
    history = read_history(store.client, store.table, "orders")
    assert [(e.epoch, e.settled, e.because, e.obstacle) for e in history] == [
        (2, True, "reason 2", ""),
        (1, True, "reason 1", ""),
    ]
    assert history[0].marks == (("settled", NOW),)


def test_a_record_of_a_later_schema_is_left_alone(store: Store) -> None:
    """It is neither read, nor taken, nor written; the error says what to do."""
    later = key("orders", "RECORD") | to_item({"schema": 2, "version": 4, "epoch": 1, "body": "?"})
    store.client.put_item(TableName=store.table, Item=later)
    with pytest.raises(UnreadableRecord, match=r"schema 2.*deploy"):
        store.load("orders")
    assert store.take(Record("orders"), "me", NOW, NOW + 30) is None
    item = store.client.get_item(TableName=store.table, Key=key("orders", "RECORD"))["Item"]
    assert item == later


def test_one_unreadable_record_does_not_hinder_the_others(store: Store) -> None:
    """Loading many gives the error beside the records."""
    taken(store)
    broken = key("broken", "RECORD") | to_item({"schema": 1, "version": 1, "body": "{nonsense"})
    store.client.put_item(TableName=store.table, Item=broken)
    names = ["orders", "broken", *(f"cluster-{n}" for n in range(60))]
    loaded = store.load_many(names)
    assert isinstance(loaded["broken"], UnreadableRecord)
    assert isinstance(loaded["orders"], Record)
    assert set(loaded) == set(names)
