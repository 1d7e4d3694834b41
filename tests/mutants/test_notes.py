"""What an observation adds to the record, in states that no story reaches; and when to look again.

Answers that come twice, late or out of order; silence that is none; obstacles that last.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import progress
from chalicelib.decide import decide
from chalicelib.model import (
    Answer,
    Attach,
    Challenge,
    Code,
    Detach,
    Fence,
    Held,
    Intent,
    Obstacle,
    Outcome,
    Power,
    Reason,
    Record,
    Result,
    Seat,
    Start,
    Verb,
    Vrrp,
    Word,
)
from chalicelib.progress import Done
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


def seat_after(record: Record, node: str, *answers: tuple[Verb, Answer]) -> Seat:
    """A node's seat after a decision at which these answers have come."""
    come = tuple((f"{node} {verb.value}", answer) for verb, answer in answers)
    return decide(CLUSTER, record, replace(seen(), answers=come)).record.seat(node)


def asked_of(seat: Seat) -> set[Verb]:
    """The commands that are remembered."""
    return {asked.command.verb for asked in seat.asked}


HERE = Answer(Result.STATUS, word=word("b", Vrrp.MASTER))
FAILED = Answer(Result.FAILED, Code.MOUNT)


# ------------------------------------------------------------------------------------ answers


def test_an_answer_is_filed_once() -> None:
    """SSM shows it for weeks; when it came is what counts."""
    record = answered(ready(), "b", Verb.STATUS, 2, at=9)
    (asked,) = seat_after(record, "b", (Verb.STATUS, HERE)).asked
    assert asked.answered_at == NOW - 8


def test_an_older_word_in_an_answer_replaces_no_newer_one() -> None:
    """Two commands were answered, and SSM shows the first one later."""
    newer, older = word("b", Vrrp.MASTER), word("b", sequence=int(NOW * 1000) - 5000)
    record = told(moving(), "b", Verb.STATUS, 2, at=9)
    record = record.with_seat(replace(record.seat("b"), heard=newer))
    seat = seat_after(record, "b", (Verb.STATUS, replace(HERE, word=older)))
    assert seat.heard == newer


def test_a_command_that_has_time_yet_is_not_given_up() -> None:
    """B answers `status`; it may answer the Release from before as well."""
    record = told(ready(), "c", Verb.RELEASE, 2, at=10)
    record = told(record, "c", Verb.STATUS, 2, at=5)
    seat = seat_after(record, "c", (Verb.STATUS, replace(HERE, word=word("c"))))
    assert asked_of(seat) == {Verb.RELEASE, Verb.STATUS}
    over = told(record, "c", Verb.RELEASE, 2, at=30)
    assert asked_of(seat_after(over, "c", (Verb.STATUS, HERE))) == {Verb.STATUS}


def test_a_command_that_was_refused_since_is_not_given_up() -> None:
    """The answer is to one from before: it says nothing about the later one."""
    record = told(ready(), "c", Verb.RELEASE, 2, at=5, outcome=Outcome.REFUSED)
    record = told(record, "c", Verb.STATUS, 2, at=9)
    seat = seat_after(record, "c", (Verb.STATUS, replace(HERE, word=word("c"))))
    assert asked_of(seat) == {Verb.RELEASE, Verb.STATUS}


def test_an_acquire_of_an_earlier_epoch_is_no_failure_in_this_one() -> None:
    """Neither its answer, nor that it stays unanswered: that is silence and no more."""
    late = told(ready(), "b", Verb.ACQUIRE, 1, at=9)
    assert seat_after(late, "b", (Verb.ACQUIRE, FAILED)).failures == 0
    mute = seat_after(told(ready(), "c", Verb.ACQUIRE, 1, at=60), "c")
    assert (mute.failures, mute.silent_since) == (0, NOW)
    mine = told(ready(), "b", Verb.ACQUIRE, 2, at=9)
    assert seat_after(mine, "b", (Verb.ACQUIRE, FAILED)).failures == 1


def test_a_release_that_failed_is_a_failure_only_of_the_owner() -> None:
    """It was to let go of what is to be mended, and cannot; a holder is fenced instead."""
    owner = told(ready(mend=("v",)), "b", Verb.RELEASE, 2, at=9)
    assert seat_after(owner, "b", (Verb.RELEASE, FAILED)).failures == 1
    assert seat_after(owner, "b", (Verb.RELEASE, Answer(Result.RELEASED))).failures == 0
    holder = told(ready(word("a", highest=1, serving=1)), "a", Verb.RELEASE, 2, at=9)
    assert seat_after(holder, "a", (Verb.RELEASE, FAILED)).failures == 0


def test_one_that_acquired_has_no_failures_behind_it() -> None:
    """The next one is the first in a row again."""
    record = told(ready(), "b", Verb.ACQUIRE, 2, at=9)
    record = record.with_seat(replace(record.seat("b"), failures=3, failed_at=NOW - 900))
    acquired = seat_after(record, "b", (Verb.ACQUIRE, Answer(Result.ACQUIRED)))
    assert (acquired.failures, acquired.failed_at) == (0, None)
    assert seat_after(record, "b", (Verb.ACQUIRE, FAILED)).failures == 4


def test_an_order_to_hand_over_is_forgotten_with_its_epoch() -> None:
    """An earlier Baton does not know the verb, and would leave the record alone."""
    record = told(served(), "a", Verb.HANDOVER, 1, at=9)
    assert asked_of(seat_after(record, "a")) == {Verb.HANDOVER}
    later = replace(record, epoch=2, highest_issued=2)
    assert Verb.HANDOVER not in asked_of(seat_after(later, "a"))


# ------------------------------------------------------------------------------------ silence


def test_a_node_that_boots_is_not_silent() -> None:
    """It was seen off, is on again, and has not said a word since."""
    record = told(served(), "c", Verb.STATUS, 1, at=30)
    said = int(NOW * 1000) - 1000
    boots = record.with_seat(replace(record.seat("c"), off_heard=said, up_at=NOW - 9))
    assert seat_after(record, "c").silent_since == NOW
    assert seat_after(boots, "c").silent_since is None


def test_who_serves_by_its_own_word_has_answered_its_acquire() -> None:
    """SSM lost the reply. A word from before the command says nothing; nor does an older epoch."""
    record = told(ready(), "b", Verb.ACQUIRE, 2, at=60, heard=5)
    serving = word("b", Vrrp.MASTER, highest=2, serving=2)
    assert seat_after(_saying(record, serving), "b").silent_since is None
    for other in (replace(serving, serving=1), replace(serving, sequence=5), word("b", Vrrp.MASTER)):
        assert seat_after(_saying(record, other), "b").silent_since == NOW


def _saying(record: Record, *words: Word) -> Record:
    said = {w.node: w for w in record.words} | {w.node: w for w in words}
    return replace(record, words=tuple(said.values()))


def test_a_word_shows_that_a_release_was_carried_out() -> None:
    """SSM lost the reply. One that serves, or has not come to that epoch, has not released."""
    record = told(ready(), "a", Verb.RELEASE, 2, at=60, heard=5)
    assert seat_after(_saying(record, word("a", highest=2)), "a").silent_since is None
    for other in (word("a", highest=2, serving=0), word("a", highest=1)):
        assert seat_after(_saying(record, other), "a").silent_since == NOW
    status = told(ready(), "a", Verb.STATUS, 2, at=60, heard=5)
    assert seat_after(_saying(status, word("a", highest=2)), "a").silent_since == NOW


def test_a_word_shows_that_a_hand_over_was_followed() -> None:
    """It is not master any more."""
    record = told(served(), "a", Verb.HANDOVER, 1, at=60, heard=5)
    assert seat_after(_saying(record, word("a", serving=1)), "a").silent_since is None
    master = word("a", Vrrp.MASTER, highest=1, serving=1)
    assert seat_after(_saying(record, master), "a").silent_since == NOW


def test_a_command_of_the_boot_before_is_void() -> None:
    """Nobody will answer it, and nobody is to blame."""
    record = told(served(), "c", Verb.STATUS, 1, at=60, heard=5)
    assert seat_after(record, "c").silent_since == NOW
    assert seat_after(_saying(record, word("c", boot="c/2")), "c").silent_since is None


def test_a_command_remembers_what_was_heard_before_it() -> None:
    """Only a later word may count as its answer."""
    record = decide(CLUSTER, moving(), seen()).record
    asked = record.asked("b", Verb.STATUS)
    assert asked is not None
    assert asked.heard == int(NOW * 1000) - 1000


# --------------------------------------------------------------------------------------- power


def test_a_boot_begins_when_ec2_says_running() -> None:
    """Before that its time does not run."""
    record = served()
    record = record.with_seat(replace(record.seat("c"), off_heard=int(NOW * 1000) - 1000))
    pending = decide(CLUSTER, record, seen(c=Power.PENDING)).record.seat("c")
    running = decide(CLUSTER, record, seen(c=Power.RUNNING)).record.seat("c")
    assert (pending.up_at, running.up_at) == (None, NOW)


def test_what_somebody_else_started_is_not_started_again_when_a_person_stops_it() -> None:
    """It runs long after our Stop: that Stop is past."""
    record = served()
    stopped = record.with_seat(replace(record.seat("b"), fenced_at=NOW - 900))
    assert decide(CLUSTER, stopped, seen()).record.seat("b").fenced_at is None
    fresh = record.with_seat(replace(record.seat("b"), fenced_at=NOW - 9))
    assert decide(CLUSTER, fresh, seen()).record.seat("b").fenced_at == NOW - 9


def test_only_a_stop_or_start_that_may_have_happened_is_noted() -> None:
    """EC2 refused it: nobody is to be started again for that."""
    record = served()
    for outcome in Outcome:
        fenced = progress.note(record, (Done(Fence("b"), outcome, NOW),)).seat("b")
        may_be = outcome in (Outcome.DONE, Outcome.UNKNOWN)
        assert fenced.fenced_at == (NOW if may_be else None)
        off = record.with_seat(replace(record.seat("b"), fenced_at=NOW - 9))
        seat = progress.note(off, (Done(Start("b"), outcome, NOW),)).seat("b")
        assert (seat.fenced_at, seat.started_at) == ((None, NOW) if may_be else (NOW - 9, None))


def test_what_ssm_refuses_to_send_is_unanswered_at_once() -> None:
    """The node has no agent that could answer."""
    refused = told(moving(), "b", Verb.STATUS, 2, at=1, outcome=Outcome.REFUSED)
    assert seat_after(refused, "b").silent_since == NOW
    assert seat_after(told(moving(), "b", Verb.STATUS, 2, at=1), "b").silent_since is None


def test_what_was_tried_three_times_counts_as_sent() -> None:
    """Each try may have gone out: nobody waits for ever to be sure."""
    twice = unreleased(outcome=Outcome.UNKNOWN, tries=2)
    assert calls(decide(CLUSTER, twice, seen())) == []
    thrice = unreleased(outcome=Outcome.UNKNOWN, tries=3)
    assert calls(decide(CLUSTER, thrice, seen())) == ["Fence"]


def test_one_that_fell_silent_since_it_was_asked_is_asked_now() -> None:
    """The question from before belongs to the time before."""
    record = told(served(), "c", Verb.STATUS, 1, at=8, tries=9)
    record = record.with_seat(replace(record.seat("c"), silent_since=NOW - 5))
    assert sent(decide(CLUSTER, record, seen())) == {(Verb.STATUS, "c")}
    waiting = record.with_seat(replace(record.seat("c"), silent_since=NOW - 9))
    assert sent(decide(CLUSTER, waiting, seen())) == set()


# --------------------------------------------------------------------------------------- calls


def test_a_call_that_its_driver_did_not_live_to_see_may_still_come() -> None:
    """A Stop of an earlier epoch names b: it acquires nothing before that cannot land any more."""
    for outcome in (None, Outcome.UNKNOWN):
        stray = Intent(Fence("b"), 1, NOW - 10, outcome)
        assert sent(decide(CLUSTER, ready(intents=(stray,)), seen("b", "b"))) == set()
    refused = Intent(Fence("b"), 1, NOW - 10, Outcome.REFUSED)
    assert (Verb.ACQUIRE, "b") in sent(decide(CLUSTER, ready(intents=(refused,)), seen("b", "b")))


def test_the_calls_of_an_epoch_are_remembered_as_long_as_it_lasts() -> None:
    """Else it would try for ever. Those of earlier epochs are forgotten once they cannot come."""
    mine = Intent(Detach("v", "a"), 2, NOW - 900, Outcome.DONE)
    young = Intent(Detach("v", "c"), 1, NOW - 30, Outcome.DONE)
    old = Intent(Attach("v", "a", "/dev/sdf"), 1, NOW - 900, Outcome.DONE)
    after = decide(CLUSTER, ready(intents=(mine, young, old)), seen("", "b")).record.intents
    assert [i for i in after if i.at < NOW] == [mine, young]


def test_a_stop_that_shows_no_effect_is_sent_again() -> None:
    """EC2 says `running` still, and its interval is over."""
    record = ready(word("a", highest=1, serving=1))
    stop = Intent(Fence("a"), 2, NOW - 15, Outcome.UNKNOWN)
    assert calls(decide(CLUSTER, replace(record, intents=(stop,)), seen())) == ["Fence"]
    young = replace(stop, at=NOW - 5)
    assert calls(decide(CLUSTER, replace(record, intents=(young,)), seen())) == []


# ----------------------------------------------------------------------- challenges, obstacles


def _challenge(record: Record, **more: object) -> Record:
    challenge = Challenge("a", "b", 2, NOW - 3, int(NOW * 1000) - 1000, 1, NOW + 2)
    return replace(record, challenge=replace(challenge, **more), highest_issued=2)  # type: ignore[arg-type]


def test_a_challenge_is_dropped_when_nobody_contests_any_more() -> None:
    """The claimant stepped back; or the owner did, and no claimant is able."""
    assert decide(CLUSTER, _challenge(served()), seen()).record.challenge is None
    deaf = (word("b", Vrrp.MASTER, agent=False), word("c", Vrrp.MASTER, agent=False))
    assert decide(CLUSTER, _challenge(served(word("a", serving=1), *deaf)), seen()).record.challenge is None
    contested = _challenge(served(word("b", Vrrp.MASTER)))
    assert decide(CLUSTER, contested, seen()).record.challenge is not None


def test_a_challenge_is_looked_at_when_its_time_is_over() -> None:
    """Not half a second later."""
    record = _challenge(served(word("b", Vrrp.MASTER)), deadline=NOW + 0.2)
    assert decide(CLUSTER, record, seen()).look_at == NOW + 0.2


def test_another_obstacle_begins_now() -> None:
    """How long it lasts is what people are told."""
    other = Obstacle(Reason.REFUSED, "EC2 says no", NOW - 100)
    record = replace(served(word("a", serving=1), nobody_since=NOW - 60), obstacle=other)
    after = decide(CLUSTER, record, seen()).record.obstacle
    assert after is not None
    assert (after.reason, after.since) == (Reason.NOBODY_CLAIMS, NOW)


def test_what_is_settled_is_not_settled_again() -> None:
    """Its obstacle would begin anew each time somebody looks, and be written each time."""
    since = Obstacle(Reason.NOBODY_CLAIMS, "nobody", NOW - 40)
    record = replace(served(word("a", highest=1, serving=1), nobody_since=NOW - 60), obstacle=since)
    after = decide(CLUSTER, record, seen()).record.obstacle
    assert after is not None
    assert after.since == NOW - 40


def test_where_nobody_owns_anything_that_nobody_claims_is_no_alarm() -> None:
    """A cluster that was defined and never begun."""
    record = Record("c", words=(word("a"), word("b")), nobody_since=NOW - 600)
    assert reason(decide(CLUSTER, record, seen("", ""))) is None


def test_what_is_due_much_later_is_left_to_the_sweep() -> None:
    """Damaged data is looked at again in five minutes: no driver waits for that."""
    damage = Answer(Result.FAILED, Code.DAMAGED, word("b", Vrrp.FAULT))
    for failures, waits in ((1, True), (7, False)):
        record = told(
            ready(word("b", Vrrp.FAULT)), "b", Verb.ACQUIRE, 2, at=5, answer=damage, answered_at=NOW - 2
        )
        seat = replace(record.seat("b"), failed_at=NOW - 2, failures=failures, held=Held(2, "b/1"))
        decision = decide(CLUSTER, record.with_seat(seat), seen("b", "b"))
        assert reason(decision) is Reason.DAMAGED
        assert (decision.look_at is not None) is waits
