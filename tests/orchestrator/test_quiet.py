"""Which words need nobody to look: only those that change nothing where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.model import Challenge, Obstacle, Reason, Record, Vrrp, Word
from chalicelib.quiet import is_repetition

A = Word("i-a", Vrrp.MASTER, 1000, "boot", 254, highest=7, released=6, serving=7)
B = Word("i-b", Vrrp.BACKUP, 1000, "boot", 253)
WELL = Record("orders", words=(A, B), epoch=7, owner="i-a", settled=True)


@pytest.mark.parametrize("word", [A, B])
def test_where_all_is_well_a_repetition_is_one(word: Word) -> None:
    """The owner serves, the backup serves nothing."""
    assert is_repetition(WELL, word, replace(word, sequence=2000))


@pytest.mark.parametrize(
    "changed",
    [
        replace(A, state=Vrrp.FAULT),
        replace(A, boot="other"),
        replace(A, serving=None),
        replace(A, agent=False),
        replace(A, highest=8),
        replace(A, released=7),
        replace(B, state=Vrrp.MASTER),
    ],
)
def test_anything_new_is_looked_at(changed: Word) -> None:
    """Each field of a word can be the one that matters."""
    last = A if changed.node == A.node else B
    assert not is_repetition(WELL, last, replace(changed, sequence=2000))


@pytest.mark.parametrize(
    "record",
    [
        replace(WELL, settled=False),
        replace(WELL, epoch=8),
        replace(WELL, owner="i-b"),
        replace(WELL, obstacle=Obstacle(Reason.NO_FENCE, "", 1.0)),
        replace(WELL, challenge=Challenge("i-a", "i-b", 8, 1.0, 1, 1, 6.0)),
    ],
)
def test_where_all_is_not_well_every_word_is_looked_at(record: Record) -> None:
    """A repetition can be what a blocked or contested cluster waits for."""
    assert not is_repetition(record, A, replace(A, sequence=2000))


def test_a_claim_that_is_repeated_is_looked_at() -> None:
    """The claim may have been spent, and this renews it."""
    claim = replace(B, state=Vrrp.MASTER)
    assert not is_repetition(WELL, claim, replace(claim, sequence=2000))


def test_a_first_word_is_looked_at() -> None:
    """There is nothing that it could repeat."""
    assert not is_repetition(WELL, None, A)
