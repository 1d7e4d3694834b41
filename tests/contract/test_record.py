"""The record: who may write what and when, in the simulator and in DynamoDB by way of `store.py`.

Each condition rests on DynamoDB's conditional writes: one that fails changes nothing (DynamoDB
developer guide, "Working with items", Conditional writes), and a transaction is all or nothing
("Amazon DynamoDB Transactions: How it works").
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib import timing
from chalicelib.model import Record, Vrrp, Word
from tests.contract.ports import Aws


def word(node: str, sequence: int, state: Vrrp = Vrrp.MASTER) -> Word:
    """A word of a node."""
    return Word(node, state, sequence, "boot")


def taken(aws: Aws, holder: str = "me") -> Record:
    """The record with a lease that was just taken."""
    record = aws.take(holder)
    assert record is not None
    assert record.lease is not None
    assert (record.lease.holder, record.lease.until) == (holder, aws.now + timing.LEASE_SECONDS)
    return record


def persisted(aws: Aws, record: Record) -> Record:
    """The record as it was stored."""
    kept = aws.persist(record)
    assert kept is not None
    return kept


# -------------------------------------------------------------------------------------- lease


def test_a_cluster_never_seen_has_an_empty_record(aws: Aws) -> None:
    """GetItem of what is not there is no error (DynamoDB API reference, GetItem)."""
    assert aws.load() == Record(aws.cluster.name)


def test_a_free_lease_is_taken_and_a_held_one_is_not(aws: Aws) -> None:
    """Who comes second finds it held, and changes nothing."""
    mine = taken(aws)
    assert aws.load() == mine
    assert aws.take("another") is None
    assert aws.load() == mine


@pytest.mark.parametrize(
    ("seconds", "is_over"),
    [
        (timing.LEASE_SECONDS - 1, False),
        (timing.LEASE_SECONDS, False),
        (timing.LEASE_SECONDS + 1, True),
    ],
)
def test_a_lease_is_taken_from_its_holder_only_once_it_is_over(
    aws: Aws, seconds: float, is_over: bool
) -> None:
    """At its very last moment nobody may take it, and its holder may not write any more."""
    mine = taken(aws)
    aws.wait(seconds)
    assert (aws.take("another") is not None) is is_over
    if seconds >= timing.LEASE_SECONDS:
        assert aws.persist(replace(mine, because="late")) is None
        assert aws.load().because == ""


def test_a_take_that_the_sdk_sends_again_finds_its_own_lease(aws: Aws) -> None:
    """The SDK repeats a DynamoDB call whose reply was lost (AWS SDKs reference guide, "Retry
    behavior"): the second copy must not find the lease held."""
    taken(aws)
    assert aws.take("me") is not None


def test_each_taking_raises_the_version(aws: Aws) -> None:
    """So that whoever decided on an older version writes no more."""
    first = taken(aws)
    assert aws.give_up(first)
    second = taken(aws, "another")
    assert (first.version, second.version) == (1, 2)


# ------------------------------------------------------------------------------------ persist


def test_what_is_persisted_is_loaded_again_and_renews_the_lease(aws: Aws) -> None:
    """One version higher, with a whole lease from now on."""
    mine = taken(aws)
    aws.wait(10)
    a, _ = aws.cluster.nodes
    changed = replace(mine, epoch=1, highest_issued=1, owner=a, because="why")
    kept = persisted(aws, changed)
    assert kept.lease is not None
    assert (kept.version, kept.lease.until) == (mine.version + 1, aws.now + timing.LEASE_SECONDS)
    assert replace(kept, version=mine.version, lease=mine.lease) == changed
    assert aws.load() == kept


def test_of_two_writes_from_one_version_the_second_is_refused(aws: Aws) -> None:
    """Although the lease is the same driver's."""
    mine = taken(aws)
    persisted(aws, replace(mine, because="first"))
    assert aws.persist(replace(mine, because="second")) is None
    assert aws.load().because == "first"


def test_a_driver_that_lost_its_lease_writes_no_more(aws: Aws) -> None:
    """Neither on the version that it read, nor on its successor's, which it cannot know."""
    slow = taken(aws, "slow")
    aws.wait(timing.LEASE_SECONDS + 1)
    new = taken(aws, "new")
    assert aws.persist(replace(slow, because="late")) is None
    assert aws.persist(replace(slow, because="late", version=new.version)) is None
    assert aws.load() == new


def test_a_lease_that_was_given_up_lets_nobody_write(aws: Aws) -> None:
    """Its former holder no more than anybody else."""
    mine = taken(aws)
    assert aws.give_up(mine)
    assert aws.persist(replace(mine, because="late")) is None
    assert aws.load().lease is None


# -------------------------------------------------------------------------------------- words


def test_a_word_counts_by_its_sequence_alone_whoever_drives(aws: Aws) -> None:
    """Nodes wait for no driver, and for no other node."""
    a, b = aws.cluster.nodes
    assert aws.accept(word(a, 5))
    mine = taken(aws)
    assert aws.accept(word(a, 6, Vrrp.BACKUP))
    assert aws.accept(word(b, 1))
    assert not aws.accept(word(a, 5, Vrrp.FAULT))
    assert not aws.accept(word(a, 6, Vrrp.FAULT))
    found = aws.load()
    assert set(found.words) == {word(a, 6, Vrrp.BACKUP), word(b, 1)}
    assert (found.words_version, found.version) == (3, mine.version)


def test_a_driver_takes_no_word_away_and_learns_those_that_came(aws: Aws) -> None:
    """Words are merged into what Persist returns; what the driver thinks of them is not written."""
    a, b = aws.cluster.nodes
    aws.accept(word(a, 5))
    mine = taken(aws)
    aws.accept(word(b, 7))
    kept = persisted(aws, replace(mine, words=(word(a, 3),), because="decided before"))
    assert kept.words == aws.load().words
    assert set(kept.words) == {word(a, 5), word(b, 7)}
    assert kept.words_version == 2


# ------------------------------------------------------------------------------------ give up


def test_a_lease_is_given_up_if_no_word_came(aws: Aws) -> None:
    """With words or without any; the next driver need not wait for its end."""
    mine = taken(aws)
    assert aws.give_up(mine)
    assert aws.load() == replace(mine, lease=None)
    a, _ = aws.cluster.nodes
    aws.accept(word(a, 5))
    again = replace(taken(aws, "next"), words=aws.load().words, words_version=1)
    assert aws.give_up(again)
    assert aws.load().lease is None


def test_a_lease_is_kept_if_a_word_came_that_was_not_decided_on(aws: Aws) -> None:
    """That word's sender found the lease held and left: this driver has to look again."""
    mine = taken(aws)
    a, _ = aws.cluster.nodes
    aws.accept(word(a, 5))
    assert not aws.give_up(mine)
    assert aws.load().lease == mine.lease
    assert aws.give_up(replace(mine, words_version=1))


def test_a_lease_that_is_lost_is_given_up_already(aws: Aws) -> None:
    """Its successor keeps its own."""
    slow = taken(aws, "slow")
    aws.wait(timing.LEASE_SECONDS + 1)
    new = taken(aws, "new")
    assert aws.give_up(slow)
    assert aws.load() == new


def test_a_word_came_and_the_lease_is_lost(aws: Aws) -> None:
    """The driver is told to look again, and then finds that it drives no more."""
    slow = taken(aws, "slow")
    aws.wait(timing.LEASE_SECONDS + 1)
    new = taken(aws, "new")
    aws.accept(word(aws.cluster.nodes[0], 5))
    assert not aws.give_up(slow)
    assert aws.load().lease == new.lease
