"""Decisions that no story shows: about epochs nobody expects, and about when to look again."""

from __future__ import annotations

from dataclasses import replace

from chalicelib import timing
from chalicelib.decide import decide
from chalicelib.model import (
    Attached,
    Attachment,
    Challenge,
    Cluster,
    InstanceView,
    Lease,
    News,
    Observation,
    Power,
    Reason,
    Record,
    VolumeView,
    Vrrp,
    Word,
)
from chalicelib.reconcile import Load, Observe, Persist, Tell, Wait, turn

NOW = 1_000_000.0
CLUSTER = Cluster("c", ("a", "b"), ("v",), ())


def _word(node: str, state: Vrrp = Vrrp.BACKUP, **more: object) -> Word:
    word = Word(node, state, sequence=int(NOW * 1000) - 1000, boot=f"{node}/1")
    return replace(word, **more)  # type: ignore[arg-type]


def _seen(now: float = NOW) -> Observation:
    running = tuple(InstanceView(node, Power.RUNNING) for node in CLUSTER.nodes)
    on_a = (Attachment("a", "/dev/sdf", Attached.ATTACHED),)
    return Observation(now, running, (VolumeView("v", on_a),))


def test_a_lost_table_costs_one_epoch_and_not_fifty() -> None:
    """The nodes remember epochs that the record does not: the next one is above all of them."""
    words = (_word("a", Vrrp.MASTER, highest=57, serving=57), _word("b", highest=56))
    decision = decide(CLUSTER, Record("c", words=words), _seen())
    assert (decision.record.owner, decision.record.epoch) == ("a", 58)


def test_an_epoch_that_cannot_be_true_blocks_and_does_not_carry_the_others_away() -> None:
    """A node that lies or is damaged must not use up the epochs of the cluster."""
    words = (_word("a", Vrrp.MASTER, highest=10**12), _word("b"))
    record = Record("c", words=words, epoch=3, owner="a", highest_issued=3, granted_at=NOW)
    decision = decide(CLUSTER, record, _seen())
    assert decision.record.epoch == 3
    assert decision.record.obstacle is not None
    assert decision.record.obstacle.reason is Reason.ABSURD_EPOCH


def test_a_deadline_that_has_passed_is_no_reason_to_look_at_once() -> None:
    """A challenge is open, its time is over, and its claimant is not able any more."""
    words = (_word("a", Vrrp.MASTER, serving=1), _word("b", Vrrp.MASTER, agent=False))
    challenge = Challenge("a", "b", 2, NOW - 60, words[0].sequence, words[1].sequence, NOW - 50)
    record = Record("c", words=words, epoch=1, owner="a", highest_issued=2, settled=True, challenge=challenge)
    decision = decide(CLUSTER, record, _seen())
    assert decision.look_at is None or decision.look_at > NOW


def test_a_challenge_is_looked_at_less_and_less_often() -> None:
    """An owner whose agent is down has half a minute: a look each 0.5 s would be AWS's whole limit."""
    words = (_word("a", Vrrp.MASTER, agent=False), _word("b", Vrrp.MASTER))
    heard = words[0].sequence

    def interval(age: float) -> float:
        challenge = Challenge("a", "b", 4, NOW - age, heard, words[1].sequence, NOW - age + 33)
        record = Record("c", words=words, epoch=3, owner="a", highest_issued=4, settled=True)
        decision = decide(CLUSTER, replace(record, challenge=challenge), _seen())
        assert decision.look_at is not None
        return decision.look_at - NOW

    assert [interval(age) for age in (0, 2, 8, 16, 30)] == [0.5, 0.5, 2.0, 4.0, 3.0]


def test_a_wait_never_outlasts_the_lease() -> None:
    """A lease that runs out while its driver waits for a known moment would end the drive there."""
    words = (_word("a", Vrrp.MASTER), _word("b"))
    lease = Lease("me", NOW + timing.LEASE_SECONDS)
    failed = replace(Record("c").seat("a"), failed_at=NOW, failures=3)
    record = Record("c", words=words, epoch=1, owner="a", highest_issued=1, granted_at=NOW - 1, lease=lease)
    record = record.with_seat(failed).with_seat(replace(failed, node="b"))
    steps = turn(CLUSTER, "me")
    unseen = Observation(NOW, volumes=(VolumeView("v"),))
    asked = next(steps)
    while not isinstance(asked, Wait):
        assert isinstance(asked, Load | Observe | Persist | Tell)
        if isinstance(asked, Load | Persist):
            asked = steps.send(record if isinstance(asked, Load) else asked.record)
        else:
            asked = steps.send(unseen if isinstance(asked, Observe) else None)
    assert NOW < asked.until <= lease.until - timing.LEASE_SECONDS / 2


def test_that_nobody_claims_is_told_once_it_lasts() -> None:
    """Nothing moves for it; it is news, and ends by itself."""
    words = (_word("a", serving=1), _word("b"))
    record = Record("c", words=words, epoch=1, owner="a", highest_issued=1, settled=True)
    early = decide(CLUSTER, record, _seen())
    assert early.record.obstacle is None
    late = decide(CLUSTER, early.record, _seen(NOW + timing.NOBODY_SECONDS))
    assert [one.kind for one in late.news] == ["blocked"]
    assert late.actions == ()
    back = replace(late.record, words=(replace(words[0], state=Vrrp.MASTER), words[1]))
    cleared = decide(CLUSTER, back, _seen(NOW + timing.NOBODY_SECONDS))
    assert cleared.record.obstacle is None
    assert all(isinstance(one, News) for one in cleared.news)
