"""The loop asks for I/O in the order that its contract says, and loses no wake-up."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.model import Cluster, Lease, Observation, Record, Vrrp, Word
from chalicelib.reconcile import GiveUp, Load, Observe, Persist, Take, Tell, reconcile

CLUSTER = Cluster("c", ("a", "b"), ("v",), ("10.0.0.9",))


def test_a_word_that_came_meanwhile_is_noticed_when_the_lease_is_given_up() -> None:
    """Story 10. Persist returns the newest words; GiveUp still names those decided on."""
    word = Word("a", Vrrp.BACKUP, 1_000_000, "a/1")
    free = Record("c", words=(word,), words_version=1)
    held = replace(free, lease=Lease("d", 1030.0))
    steps = reconcile(CLUSTER, "d")
    assert isinstance(next(steps), Load)
    assert isinstance(steps.send(free), Take)
    assert isinstance(steps.send(held), Load)
    asked = steps.send(held)
    assert isinstance(asked, Observe)
    asked = steps.send(Observation(at=1000.0))
    if isinstance(asked, Persist):
        newer = replace(asked.record, version=2, words_version=2)
        asked = steps.send(newer)
    while isinstance(asked, Tell):
        asked = steps.send(None)
    assert isinstance(asked, GiveUp)
    assert asked.record.words_version == 1


def test_a_driver_that_does_not_get_the_lease_does_nothing() -> None:
    """Somebody else drives."""
    steps = reconcile(CLUSTER, "d")
    next(steps)
    steps.send(Record("c"))
    try:
        steps.send(None)
    except StopIteration:
        return
    raise AssertionError("it went on without a lease")
