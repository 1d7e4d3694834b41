"""Guards that no story reaches: what EC2 does not say, what another version or a person wrote.

Each is one state of the record and the observation, and what the core decides there.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib.decide import decide
from chalicelib.facts import Facts
from chalicelib.model import Cause, Held, Notice, Power, Record, Verb, Vrrp
from tests.mutants.states import CLUSTER, NOW, calls, moving, seen, sent, served, word

# ------------------------------------------------------------------ what EC2 does not say, or says


def test_nothing_is_taken_while_ec2_says_nothing_of_a_volume() -> None:
    """What is not shown may be anywhere; nor is the address moved meanwhile."""
    assert "Move" in calls(decide(CLUSTER, moving(), seen()))
    assert calls(decide(CLUSTER, moving(), seen(volume=None))) == []


def test_nothing_is_taken_while_ec2_says_nothing_of_an_address() -> None:
    """Its holder may be somebody who has to let go first."""
    assert "Detach" in calls(decide(CLUSTER, moving(), seen()))
    assert calls(decide(CLUSTER, moving(), seen(address=None))) == []


def test_what_ec2_does_not_say_contradicts_nothing() -> None:
    """A Describe that failed is no sign that a volume has left its owner."""
    assert decide(CLUSTER, served(), seen(volume="b")).record.adrift_since == NOW
    assert decide(CLUSTER, served(), seen(volume=None)).record.adrift_since is None


def test_an_owner_that_is_terminated_soon_is_followed_without_a_challenge() -> None:
    """EC2 says shutting-down: it has no future as an owner, whatever it claims."""
    record = served(word("b", Vrrp.MASTER))
    decision = decide(CLUSTER, record, seen(a=Power.SHUTTING_DOWN))
    assert (decision.record.owner, decision.record.epoch) == ("b", 2)


def test_one_that_is_about_to_start_is_waited_for() -> None:
    """EC2 says pending: no deadline runs before its first word."""
    record = moving(word("a", highest=1, serving=1))
    assert (Verb.RELEASE, "a") in sent(decide(CLUSTER, record, seen()))
    assert (Verb.RELEASE, "a") not in sent(decide(CLUSTER, record, seen(a=Power.PENDING)))


# ------------------------------------------------------------------------ who may hold, who may own


def test_a_member_that_never_said_a_word_may_hold() -> None:
    """It has a volume: it is asked to let go before anything is taken from it."""
    record = Record("c", words=(word("b", Vrrp.MASTER),))
    decision = decide(CLUSTER, record, seen(volume="a", address=""))
    assert (Verb.RELEASE, "a") in sent(decision)
    assert calls(decision) == []


def test_who_is_no_member_any_more_is_not_waited_for() -> None:
    """A node that was taken out of the definition is neither asked nor stopped by Baton."""
    record = moving()
    record = record.with_seat(replace(record.seat("z"), held=Held(1, "z/1")))
    decision = decide(CLUSTER, record, seen())
    assert "Detach" in calls(decision)


def test_who_is_no_member_any_more_does_not_become_owner_again() -> None:
    """The owner was taken out of the definition, and serves nothing: no new epoch for it."""
    former = replace(CLUSTER, nodes=("b", "c"))
    record = served(word("a", highest=1, released=1), word("b", Vrrp.MASTER, agent=False))
    assert decide(CLUSTER, record, seen()).record.epoch == 2
    assert decide(former, record, seen()).record.epoch == 1


def test_of_two_of_equal_priority_the_id_decides() -> None:
    """However the definition lists them."""
    record = served(word("a"), word("b", Vrrp.MASTER), word("c", Vrrp.MASTER))
    for nodes in (("a", "b", "c"), ("c", "b", "a")):
        assert decide(replace(CLUSTER, nodes=nodes), record, seen()).record.owner == "b"


def test_what_a_person_confirmed_counts_in_that_epoch_only() -> None:
    """He looked at the node when another epoch was in force."""
    record = moving(word("a", highest=1, serving=1))
    confirmed = record.with_seat(replace(record.seat("a"), confirmed=2))
    before = record.with_seat(replace(record.seat("a"), confirmed=1))
    assert Facts(CLUSTER, confirmed, seen()).unclear() == ()
    assert "Detach" in calls(decide(CLUSTER, confirmed, seen()))
    assert calls(decide(CLUSTER, before, seen())) == []


# --------------------------------------------------------------------------------------- notices


def _warned(*notices: Notice) -> Record:
    return served(notices=notices)


def _notice(cause: Cause, seconds: float, **more: object) -> Notice:
    notice = Notice("a", cause, heard_at=NOW - 10, at=NOW + seconds, until=NOW + seconds, boot="a/1")
    return replace(notice, **more)  # type: ignore[arg-type]


def test_of_two_announcements_the_sooner_counts() -> None:
    """Maintenance next week does not hide that Spot takes it in two minutes."""
    week = _notice(Cause.MAINTENANCE, 7 * 86400.0)
    spot = _notice(Cause.SPOT, 120.0)
    for notices in ((week, spot), (spot, week)):
        assert (Verb.HANDOVER, "a") in sent(decide(CLUSTER, _warned(*notices), seen()))


def test_what_was_called_off_moves_nothing() -> None:
    """AWS says that the maintenance is over."""
    soon = _notice(Cause.MAINTENANCE, 120.0)
    assert (Verb.HANDOVER, "a") in sent(decide(CLUSTER, _warned(soon), seen()))
    assert sent(decide(CLUSTER, _warned(replace(soon, over=True)), seen())) == set()
