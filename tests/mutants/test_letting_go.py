"""How holders let go and the owner gets everything, in states that no story reaches.

Each is one decision: what is sent, called and blocked, and what the record holds afterwards.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import handover, timing
from chalicelib.decide import decide
from chalicelib.facts import Facts
from chalicelib.model import (
    Answer,
    Attach,
    Challenge,
    Detach,
    Fence,
    FencePolicy,
    Held,
    Intent,
    Obstacle,
    Outcome,
    Power,
    Reason,
    Record,
    Result,
    Seat,
    Verb,
    VolumeView,
    Vrrp,
    Word,
)
from tests.mutants.states import (
    CLUSTER,
    NOW,
    answered,
    calls,
    moving,
    ready,
    reason,
    seen,
    sent,
    served,
    told,
    unreleased,
    word,
)

NO_FENCE = replace(CLUSTER, fence=FencePolicy.NONE)
ALONE = replace(CLUSTER, nodes=("a", "b"))


def unanswered(*words: Word, at: float = 25, **more: object) -> Record:
    """A leaves its Release unanswered, and b, the owner, has not been asked yet."""
    record = moving(word("a", highest=1, serving=1), *words)
    record = replace(record, granted_at=NOW - 30, counted_from=NOW - 30)
    return told(record, "a", Verb.RELEASE, 2, at=at, **more)


# ------------------------------------------------------------------------------------ acquire


def test_a_volume_that_does_not_exist_blocks() -> None:
    """EC2 says so: nothing is moved for the rest either."""
    gone = replace(seen(), volumes=(VolumeView("v", exists=False),))
    decision = decide(CLUSTER, moving(), gone)
    assert (reason(decision), calls(decision), sent(decision)) == (Reason.MISSING, [], set())


def test_what_is_detached_to_be_mended_is_not_acquired_in_the_same_breath() -> None:
    """B has released it, and EC2 shows it attached there still."""
    record = ready(word("b", Vrrp.MASTER, highest=2, released=1), mend=("v",))
    decision = decide(CLUSTER, record, seen("b", "b"))
    assert (calls(decision), sent(decision)) == (["Detach"], set())


def _lost_acquire(at: float) -> Record:
    """B was sent an Acquire so many seconds ago, and nobody knows whether it went out."""
    record = told(ready(), "b", Verb.ACQUIRE, 2, at=at, outcome=Outcome.UNKNOWN)
    return record.with_seat(replace(record.seat("b"), held=Held(2, "b/1")))


def test_an_acquire_of_unknown_fate_is_sent_again_when_its_call_is_over() -> None:
    """Not before: the first may be on its way."""
    assert sent(decide(CLUSTER, _lost_acquire(timing.CALL_SECONDS - 1), seen("b", "b"))) == set()
    late = decide(CLUSTER, _lost_acquire(timing.CALL_SECONDS + 1), seen("b", "b"))
    assert sent(late) == {(Verb.ACQUIRE, "b")}


def test_nothing_is_acquired_while_a_challenge_is_open() -> None:
    """B may release for it any moment; c claims too."""
    record = _lost_acquire(timing.CALL_SECONDS + 1)
    claim = word("c", Vrrp.MASTER)
    record = replace(record, words=(*(w for w in record.words if w.node != "c"), claim))
    challenge = Challenge("b", "c", 3, NOW - 1, record.words[1].sequence, claim.sequence, NOW + 4)
    open_ = replace(record, challenge=challenge, highest_issued=3)
    assert (Verb.ACQUIRE, "b") not in sent(decide(CLUSTER, open_, seen("b", "b")))
    refused = replace(open_, challenge=replace(challenge, refused_at=NOW - 0.5))
    assert (Verb.ACQUIRE, "b") in sent(decide(CLUSTER, refused, seen("b", "b")))


def test_a_detach_that_ec2_refused_took_nothing() -> None:
    """What is attached may be acquired."""
    refused = Intent(Detach("v", "b"), 2, NOW - 10, Outcome.REFUSED)
    done = replace(refused, outcome=Outcome.DONE)
    assert (Verb.ACQUIRE, "b") in sent(decide(CLUSTER, ready(intents=(refused,)), seen("b", "b")))
    assert (Verb.ACQUIRE, "b") not in sent(decide(CLUSTER, ready(intents=(done,)), seen("b", "b")))


def test_a_detach_from_another_node_takes_nothing_from_the_owner() -> None:
    """It was noted after the Attach to b."""
    intents = (
        Intent(Attach("v", "b", "/dev/sdf"), 2, NOW - 12, Outcome.DONE),
        Intent(Detach("v", "a"), 2, NOW - 10, Outcome.DONE),
    )
    assert (Verb.ACQUIRE, "b") in sent(decide(CLUSTER, ready(intents=intents), seen("b", "b")))


def test_what_is_settled_begins_anew() -> None:
    """Failures, sparing, holders and what was to be mended are over; who is no member is not asked."""
    record = ready(word("b", Vrrp.MASTER, highest=2, released=1, serving=2), mend=("v",))
    record = replace(record, obstacle=Obstacle(Reason.REFUSED, "EC2 says no", NOW - 60))
    record = record.with_seat(replace(record.seat("a"), spared=True, held=Held(1, "a/1")))
    record = record.with_seat(replace(record.seat("b"), failures=2, failed_at=NOW - 600, held=Held(2, "b/1")))
    record = record.with_seat(Seat("z", held=Held(1, "z/1")))
    after = handover.settle(Facts(CLUSTER, record, seen("b", "b")))
    assert (after.settled, after.mend, after.obstacle) == (True, (), None)
    assert (after.seat("a").spared, after.seat("a").held) == (False, None)
    assert (after.seat("b").failures, after.seat("b").failed_at) == (0, None)
    assert after.seat("b").held == Held(2, "b/1")
    assert after.seat("z").held == Held(1, "z/1")
    assert decide(CLUSTER, record, seen("b", "b")).record.settled


# ------------------------------------------------------------------------------ asked, fenced


def test_a_node_that_is_being_stopped_is_not_asked_any_more() -> None:
    """EC2 took the Stop five seconds ago, and says `running` still."""
    record = ready(word("a", highest=1, serving=1))
    stop = Intent(Fence("a"), 2, NOW - 5, Outcome.DONE)
    decision = decide(CLUSTER, replace(record, intents=(stop,)), seen())
    assert (calls(decision), sent(decision)) == ([], set())


def test_if_neither_answers_it_is_ssm_and_it_says_so() -> None:
    """The owner was asked as well."""
    assert reason(decide(CLUSTER, unanswered(), seen())) is Reason.NOBODY_ANSWERS


def test_one_that_answered_is_not_said_to_be_mute() -> None:
    """It failed to unmount: that is no trouble of SSM's."""
    failed = Answer(Result.FAILED, word=word("a", highest=1, serving=1))
    record = unanswered(answer=failed, answered_at=NOW - 10)
    assert reason(decide(CLUSTER, record, seen())) is None
    trouble = Obstacle(Reason.NO_FENCE, "stop it", NOW - 60)
    record = replace(answered_owner(record), obstacle=trouble)
    assert reason(decide(NO_FENCE, told_late(record, failed), seen())) is None


def answered_owner(record: Record) -> Record:
    """B has answered, a second after it was asked."""
    return answered(record, "b", Verb.STATUS, 2, at=29)


def told_late(record: Record, answer: Answer) -> Record:
    """A's latest Release was answered just now."""
    return told(record, "a", Verb.RELEASE, 2, at=2, answer=answer, answered_at=NOW - 1)


def test_one_that_was_never_reached_is_not_said_to_be_mute() -> None:
    """SSM was throttled: the Release is sent again."""
    record = unanswered(outcome=Outcome.NOT_YET, tries=9)
    decision = decide(CLUSTER, record, seen())
    assert reason(decision) is None


def test_a_release_that_was_throttled_is_not_sent_at_once_for_ever() -> None:
    """Its interval grows, also when its time is long over and the owner answers."""
    record = answered_owner(unanswered(outcome=Outcome.NOT_YET, tries=9))
    decision = decide(CLUSTER, record, seen())
    assert (calls(decision), sent(decision)) == ([], set())


def test_a_release_has_its_time() -> None:
    """The owner has answered already; a has fifteen seconds left."""
    decision = decide(CLUSTER, answered_owner(unanswered(at=5)), seen())
    assert (calls(decision), sent(decision)) == ([], set())


def test_that_no_fence_is_allowed_is_said_also_while_it_is_asked_again() -> None:
    """The obstacle would else come and go with each Release."""
    record = answered_owner(unanswered(at=2))
    trouble = Obstacle(Reason.NO_FENCE, "stop it", NOW - 60)
    assert reason(decide(NO_FENCE, record, seen())) is None
    decision = decide(NO_FENCE, replace(record, obstacle=trouble), seen())
    assert (reason(decision), calls(decision)) == (Reason.NO_FENCE, [])
    assert decision.record.obstacle is not None
    assert decision.record.obstacle.since == NOW - 60


def test_where_no_fence_is_allowed_nothing_is_forced() -> None:
    """A has the volume, and its time is over."""
    decision = decide(NO_FENCE, unreleased(), seen())
    assert (reason(decision), calls(decision)) == (Reason.NO_FENCE, [])


def test_who_is_not_known_to_be_on_is_not_stopped() -> None:
    """EC2 did not say what it is."""
    assert calls(decide(CLUSTER, unreleased(), seen())) == ["Fence"]
    assert calls(decide(CLUSTER, unreleased(), seen(a=Power.UNKNOWN))) == []


def _mending_owner(after: float) -> Record:
    """B is to let go of its own volume and does not, though it answers `status` so much later."""
    record = moving(word("b", Vrrp.MASTER, serving=1, highest=1))
    record = replace(record, granted_at=NOW - 30, counted_from=NOW - 30, mend=("v",))
    record = answered(record, "b", Verb.STATUS, 2, at=29, after=after)
    return told(record, "b", Verb.RELEASE, 2, at=25)


def test_an_owner_that_does_not_let_go_blocks_and_is_not_asked_again_at_once() -> None:
    """EC2 does not say whether it is on: it may be, and mute."""
    decision = decide(ALONE, _mending_owner(after=25), seen("b", "b", b=Power.UNKNOWN))
    assert (reason(decision), sent(decision), calls(decision)) == (Reason.STUCK_VOLUME, set(), [])


# ---------------------------------------------------------------------------------- deaf, again


def _deaf(*words: Word, held: Held | None = None) -> Record:
    """C says MASTER and is deaf; a, the owner, serves as BACKUP and answers; both were asked."""
    master = word("c", Vrrp.MASTER, highest=1)
    record = served(word("a", highest=1, serving=1), master, *words)
    record = answered(record, "a", Verb.STATUS, 1, at=30)
    record = told(record, "c", Verb.STATUS, 1, at=30, tries=3)
    return record.with_seat(replace(record.seat("c"), silent_since=NOW - 60, held=held))


def test_a_deaf_master_is_fenced_only_while_it_speaks_and_is_on() -> None:
    """Its word is fresh, and EC2 says running."""
    assert calls(decide(CLUSTER, _deaf(), seen())) == ["Fence"]
    stale = word("c", Vrrp.MASTER, highest=1, sequence=int((NOW - 60) * 1000))
    assert calls(decide(CLUSTER, _deaf(stale), seen())) == []
    assert calls(decide(CLUSTER, _deaf(), seen(c=Power.STOPPED))) == []


def test_a_deaf_master_that_may_hold_is_not_fenced_for_being_deaf() -> None:
    """It serves, or an Acquire of ours may be on its way to it."""
    assert calls(decide(CLUSTER, _deaf(word("c", Vrrp.MASTER, highest=1, serving=0)), seen())) == []
    assert calls(decide(CLUSTER, _deaf(held=Held(1, "c/1")), seen())) == []


def test_a_master_that_is_not_deaf_is_not_fenced() -> None:
    """It has answered since: it is only not able for another reason."""
    record = _deaf(word("c", Vrrp.MASTER, highest=1, agent=False))
    record = record.with_seat(replace(record.seat("c"), silent_since=None))
    assert calls(decide(CLUSTER, record, seen())) == []


def test_a_deaf_master_is_not_fenced_for_an_owner_that_is_no_better() -> None:
    """The owner cannot be commanded; or it is master itself."""
    deaf_too = word("a", highest=1, serving=1, agent=False)
    assert calls(decide(CLUSTER, _deaf(deaf_too), seen())) == []
    master = word("a", Vrrp.MASTER, highest=1, serving=1)
    assert calls(decide(CLUSTER, _deaf(master), seen())) == []


def test_a_deaf_master_is_fenced_only_if_the_owner_answered_in_the_same_breath() -> None:
    """Both were asked; the one in good time, the other not at all."""
    record = _deaf()
    before = answered(record, "a", Verb.STATUS, 1, at=31)
    assert sent(decide(CLUSTER, before, seen())) == {(Verb.STATUS, "a")}
    late = answered(record, "a", Verb.STATUS, 1, at=30, after=15)
    assert calls(decide(CLUSTER, late, seen())) == []
    waiting = told(record, "a", Verb.STATUS, 1, at=8)
    assert calls(decide(CLUSTER, waiting, seen())) == []
    throttled = told(record, "c", Verb.STATUS, 1, at=30, outcome=Outcome.NOT_YET, tries=9)
    assert calls(decide(CLUSTER, throttled, seen())) == []
    soon = answered(told(record, "c", Verb.STATUS, 1, at=19), "a", Verb.STATUS, 1, at=19)
    assert calls(decide(CLUSTER, soon, seen())) == []
    of_old = record.with_seat(replace(record.seat("c"), silent_since=NOW - 25))
    assert calls(decide(CLUSTER, of_old, seen())) == []


def _fenced(started_at: float | None = None) -> Record:
    """A serves; b was stopped by Baton."""
    record = served()
    return record.with_seat(replace(record.seat("b"), fenced_at=NOW - 300, started_at=started_at))


def test_only_what_baton_fenced_and_ec2_stopped_is_started() -> None:
    """Not what a person stopped; not what is stopping still; and once an hour at most."""
    off = seen(b=Power.STOPPED)
    assert calls(decide(CLUSTER, _fenced(), off)) == ["Start"]
    assert calls(decide(CLUSTER, served(), off)) == []
    assert calls(decide(CLUSTER, _fenced(), seen(b=Power.STOPPING))) == []
    assert calls(decide(CLUSTER, _fenced(started_at=NOW - 600), off)) == []
    assert calls(decide(CLUSTER, _fenced(started_at=NOW - 3601), off)) == ["Start"]


def test_nothing_is_started_while_a_call_that_names_it_may_come() -> None:
    """A Stop of unknown fate would take it down again; one of another node would not."""
    off = seen(b=Power.STOPPED)
    stop = Intent(Fence("b"), 1, NOW - 10, Outcome.UNKNOWN)
    assert calls(decide(CLUSTER, replace(_fenced(), intents=(stop,)), off)) == []
    other = replace(stop, action=Fence("c"))
    assert calls(decide(CLUSTER, replace(_fenced(), intents=(other,)), off)) == ["Start"]
