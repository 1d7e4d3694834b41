"""Who owns, in states that no story reaches: each is one decision.

What is refused, forgiven, spared or left is looked at in the record that comes back.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import granting, ownership, timing
from chalicelib.decide import decide
from chalicelib.facts import Facts
from chalicelib.model import (
    Answer,
    Attached,
    Attachment,
    Challenge,
    Code,
    Observation,
    Obstacle,
    Power,
    Reason,
    Record,
    Result,
    Verb,
    VolumeView,
    Vrrp,
)
from chalicelib.rulings import Grant
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

DEAF = word("b", Vrrp.MASTER, agent=False)
"""A claimant that cannot be commanded."""


def owns(record: Record, seen_: Observation | None = None, **more: object) -> tuple[str | None, int]:
    """Owner and epoch after one decision."""
    cluster = replace(CLUSTER, **more)  # type: ignore[arg-type]
    after = decide(cluster, record, seen_ or seen()).record
    return after.owner, after.epoch


def challenged(record: Record, at: float = 20, claimant: str = "b", **more: object) -> Record:
    """A was challenged so many seconds ago, under epoch 7, with five seconds to answer."""
    said, claim = record.word("a"), record.word(claimant)
    challenge = Challenge(
        "a",
        claimant,
        7,
        NOW - at,
        said.sequence if said else 0,
        claim.sequence if claim else 0,
        NOW - at + 5,
    )
    return replace(record, challenge=replace(challenge, **more), highest_issued=7)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------- words


def test_a_word_from_far_ahead_counts_and_is_said_to_be_ahead() -> None:
    """Its clock is wrong; to ignore the word would be worse."""
    far = word("a", sequence=int((NOW + timing.AHEAD_SECONDS + 1) * 1000))
    assert ownership.accept(None, far, NOW) == ownership.Accepted(far, ahead=True)
    assert ownership.accept(None, word("a"), NOW) == ownership.Accepted(word("a"), ahead=False)


# ------------------------------------------------------------------------ first, yielded, vacated


def test_the_first_epoch_is_for_one_that_can_be_commanded() -> None:
    """B says MASTER, and its agent is down."""
    record = Record("c", words=(word("a"), DEAF))
    assert owns(record, seen("", "")) == (None, 0)
    assert owns(replace(record, words=(word("a"), replace(DEAF, agent=True))), seen("", "")) == ("b", 1)


def _released_owner(*, agent: bool = True) -> Record:
    return served(word("a", highest=1, released=1, agent=agent), DEAF)


def test_who_released_serves_again_only_if_it_is_able() -> None:
    """No claimant is able; nor is a, whose agent died as well."""
    assert owns(_released_owner()) == ("a", 2)
    assert owns(_released_owner(agent=False)) == ("a", 1)


def test_an_unfinished_epoch_is_not_granted_to_its_owner_again_and_again() -> None:
    """Its owner has nothing yet, and is able: it has been granted this very epoch."""
    record = ready(word("b"), word("c", Vrrp.MASTER, agent=False))
    assert owns(record) == ("b", 2)


def test_an_owner_that_a_person_said_is_off_is_followed() -> None:
    """EC2 does not say so. The node whom keepalived will elect takes it over: not that one itself."""
    record = served(word("a"), word("b", priority=50), word("c", priority=40))
    confirmed = record.with_seat(replace(record.seat("a"), confirmed=1, confirmed_at=NOW))
    assert owns(record) == ("a", 1)
    assert owns(confirmed) == ("b", 2)


def test_one_that_is_off_is_followed_by_the_best_that_is_able_and_stands_by() -> None:
    """B is preferred, and is deaf or has a fault."""
    off = seen(a=Power.STOPPED)
    for unfit in (word("b", agent=False, priority=200), word("b", Vrrp.FAULT, priority=200)):
        assert owns(served(word("a"), unfit), off) == ("c", 2)
    assert owns(served(word("a"), word("b", priority=200)), off) == ("b", 2)


def test_an_unfinished_epoch_is_not_taken_from_who_is_off_by_a_persons_word() -> None:
    """He confirmed the owner of an epoch under way, and nobody claims: it may claim yet."""
    record = moving(word("b"))
    record = record.with_seat(replace(record.seat("b"), confirmed=2, confirmed_at=NOW))
    assert owns(record) == ("b", 2)


def test_who_does_not_serve_its_epoch_gets_a_new_one_only_if_it_is_able() -> None:
    """It rebooted; its agent is not up yet."""
    back = word("a", Vrrp.MASTER, boot="a/2", highest=1)
    assert owns(served(back)) == ("a", 2)
    deaf = served(replace(back, agent=False))
    assert owns(deaf) == ("a", 1)
    assert reason(decide(CLUSTER, deaf, seen())) is Reason.NO_CLAIMANT_ABLE


# ------------------------------------------------------------------------------------- paused


def test_a_pause_lets_an_unfinished_hand_over_end() -> None:
    """A has released, and b is to have it."""
    paused = replace(CLUSTER, paused=True)
    assert calls(decide(paused, moving(), seen())) != []
    off = decide(paused, moving(), seen(b=Power.STOPPED)).record
    assert (off.owner, off.epoch) == ("a", 3)


def test_a_pause_begins_nothing_for_an_owner_that_released_by_itself() -> None:
    """It shut down in order, or was released by a person: not under a challenge of ours."""
    claimed = word("b", Vrrp.MASTER)
    alone = served(word("a", highest=1, released=1), claimed)
    under_challenge = served(word("a", highest=2, released=1), claimed)
    serving = served(word("a", highest=2, serving=1), claimed)
    assert owns(alone, paused=True) == ("a", 1)
    assert owns(under_challenge, paused=True) == ("b", 3)
    assert owns(serving, paused=True) == ("a", 1)


# ---------------------------------------------------------------------------------- overtaken


def test_a_holder_that_would_refuse_this_epoch_gets_a_newer_one() -> None:
    """A, who serves still, has executed epoch 5: a Release of epoch 2 would be older."""
    assert owns(moving(word("a", highest=5, serving=1))) == ("b", 6)


def test_an_owner_that_would_refuse_this_epoch_gets_a_newer_one() -> None:
    """It executed a command that the record has forgotten."""
    assert owns(moving(word("b", Vrrp.MASTER, highest=5))) == ("b", 6)


def test_what_a_holder_has_promised_away_overtakes_nobody() -> None:
    """A Release that it may yet execute is all that is asked of it."""
    assert owns(moving(word("a", highest=2, released=2, serving=0))) == ("b", 2)


# --------------------------------------------------------------------------------- unfinished


def test_who_is_about_to_be_fenced_is_spared_if_it_serves() -> None:
    """It says that it is master; an answer is not needed for that. Its silence is forgiven."""
    record = unreleased()
    master = word("a", Vrrp.MASTER, highest=1, serving=1, sequence=int(NOW * 1000) - 10)
    mute = replace(record.seat("a"), silent_since=NOW - 3)
    record = replace(record, words=(master, *record.words[1:])).with_seat(mute)
    after = decide(CLUSTER, record, seen()).record
    assert (after.owner, after.epoch) == ("a", 3)
    assert after.seat("a").silent_since is None


def test_who_serves_nothing_is_not_spared() -> None:
    """An old Acquire may be on its way to it still, so that it has to let go; it only says MASTER."""
    record = unreleased()
    idle = word("a", Vrrp.MASTER, sequence=int(NOW * 1000) - 10)
    record = replace(record, words=(idle, *record.words[1:]))
    decision = decide(CLUSTER, record, seen())
    assert decision.record.epoch == 2
    assert calls(decision) == ["Fence"]


def test_who_is_being_stopped_is_not_spared() -> None:
    """The Stop has been sent: what it says meanwhile is past in a moment."""
    decision = decide(CLUSTER, unreleased(), seen())
    record = decision.record
    assert calls(decision) == ["Fence"]
    master = word("a", Vrrp.MASTER, highest=1, serving=1, sequence=int(NOW * 1000) - 10)
    assert owns(replace(record, words=(master, *record.words[1:]))) == ("b", 2)


def _mending(volume: str | None = "b", **more: object) -> Record:
    """B is to let go of its volume, which is to be attached anew, and leaves that unanswered."""
    record = ready(word("b", Vrrp.MASTER, serving=1, highest=1), mend=("v",))
    return told(record, "b", Verb.RELEASE, 2, at=25, **more)


def test_the_owner_is_not_spared_nor_fenced_for_what_it_is_to_mend() -> None:
    """It is no holder that somebody waits for: it is replaced, if somebody can."""
    decision = decide(CLUSTER, _mending(), seen("b", "b"))
    assert decision.record.owner == "a"
    alone = decide(replace(CLUSTER, nodes=("b",)), _mending(), seen("b", "b"))
    assert (alone.record.owner, alone.record.epoch, calls(alone)) == ("b", 2, [])


def test_damage_blocks_unless_the_one_that_saw_it_is_off() -> None:
    """One that is off will not look again."""
    damage = Answer(Result.FAILED, Code.DAMAGED, word("b", Vrrp.FAULT))
    record = told(
        ready(word("b", Vrrp.FAULT)), "b", Verb.ACQUIRE, 2, at=5, answer=damage, answered_at=NOW - 2
    )
    record = record.with_seat(replace(record.seat("b"), failed_at=NOW - 2, failures=1))
    assert reason(decide(CLUSTER, record, seen("b", "b"))) is Reason.DAMAGED
    assert owns(record, seen("b", "b", b=Power.STOPPED)) == ("a", 3)


def test_an_unfinished_epoch_does_not_wait_for_an_owner_that_ec2_stops() -> None:
    """Nobody else claims yet; somebody able is there."""
    assert owns(moving(), seen(b=Power.STOPPING)) == ("a", 3)


def test_an_epoch_that_cannot_be_finished_goes_back_before_it_goes_on() -> None:
    """To the last owner, although c is preferred; where there was none, to one that stands by."""
    record = moving(word("c", priority=200))
    assert owns(record, seen(b=Power.STOPPED)) == ("a", 3)
    first = replace(moving(word("a", Vrrp.FAULT, priority=200)), previous=None)
    assert owns(first, seen("", "", b=Power.STOPPED)) == ("c", 3)


def test_an_attachment_that_has_not_come_to_an_end_is_begun_anew() -> None:
    """The epoch returns to a, to which the volume is attaching since nobody knows when."""
    attaching = seen("a", "", Attached.ATTACHING, b=Power.STOPPED)
    assert decide(CLUSTER, moving(), attaching).record.mend == ("v",)


def test_a_contradiction_is_mended_only_by_an_owner_that_is_able() -> None:
    """Its agent is down: a new epoch would be refused or lost."""
    adrift = served(adrift_since=NOW - 60)
    assert owns(adrift, seen("", "a")) == ("a", 2)
    deaf = served(word("a", Vrrp.MASTER, highest=1, serving=1, agent=False), adrift_since=NOW - 60)
    assert owns(deaf, seen("", "a")) == ("a", 1)


# ------------------------------------------------------------------------------------- contest


def test_whom_a_person_said_is_off_is_not_challenged() -> None:
    """Its last word is from before he looked."""
    record = served(word("b", Vrrp.MASTER))
    record = record.with_seat(replace(record.seat("a"), confirmed=1, confirmed_at=NOW))
    assert owns(record) == ("b", 2)


def test_a_challenge_to_somebody_else_is_none() -> None:
    """A record of another Baton may hold one: the owner of today has not been asked."""
    record = challenged(served(word("b", Vrrp.MASTER)), owner="c")
    decision = decide(CLUSTER, record, seen())
    assert (Verb.RELEASE, "a") in sent(decision)


def test_a_challenge_goes_on_for_another_claimant_if_its_own_is_gone() -> None:
    """B, for whom a was challenged, is deaf by now; c claims as well."""
    record = challenged(served(DEAF, word("c", Vrrp.MASTER)))
    after = decide(CLUSTER, record, seen()).record.challenge
    assert after is not None
    assert (after.claimant, after.at) == ("c", NOW)


def test_of_two_that_claim_one_that_holds_nothing_is_chosen_only_if_it_is_able() -> None:
    """A is preferred; it serves nothing, and its agent is down."""
    idle = word("a", Vrrp.MASTER, highest=1, released=1, priority=200)
    rival = word("b", Vrrp.MASTER)
    assert owns(served(idle, rival)) == ("a", 2)
    assert owns(served(replace(idle, agent=False), rival)) == ("b", 2)


def _asked_owner(**more: object) -> Record:
    record = challenged(served(word("b", Vrrp.MASTER)))
    record = told(record, "a", Verb.RELEASE, 7, at=20, **more)
    return answered(record, "b", Verb.STATUS, 7, at=20)


def test_still_master_counts_also_without_a_word() -> None:
    """The answer carries none, or an older one than the record has."""
    said = Answer(Result.STILL_MASTER)
    after = decide(CLUSTER, _asked_owner(answer=said, answered_at=NOW - 18), seen()).record
    assert (after.owner, after.epoch) == ("a", 1)
    assert after.challenge is not None
    assert after.challenge.refused_at == NOW


def test_what_was_answered_to_another_release_refuses_nothing() -> None:
    """It was asked in the epoch before, and not since."""
    record = challenged(served(word("b", Vrrp.MASTER)), at=1)
    record = answered(record, "a", Verb.RELEASE, 1, at=30)
    after = decide(CLUSTER, record, seen()).record.challenge
    assert after is not None
    assert after.refused_at is None


def test_a_challenge_that_nobody_knows_was_sent_is_made_again() -> None:
    """The driver died before the call, or within it."""
    assert owns(_asked_owner()) == ("b", 8)
    after = decide(CLUSTER, _asked_owner(outcome=None), seen()).record
    assert (after.owner, after.epoch) == ("a", 1)
    assert after.challenge is not None
    assert after.challenge.times == 2


def test_a_claimant_that_answered_before_the_challenge_proves_nothing() -> None:
    """SSM worked then; nothing says that it does now."""
    record = told(challenged(served(word("b", Vrrp.MASTER))), "a", Verb.RELEASE, 7, at=20)
    record = answered(record, "b", Verb.STATUS, 1, at=40)
    decision = decide(CLUSTER, record, seen())
    assert (decision.record.epoch, reason(decision)) == (1, Reason.NOBODY_ANSWERS)


def test_nothing_is_mended_while_a_challenge_is_open() -> None:
    """What became of the owner's resources is decided with the challenge."""
    record = challenged(served(word("b", Vrrp.MASTER), adrift_since=NOW - 60), at=1)
    assert owns(record, seen("", "a")) == ("a", 1)
    alone = served(adrift_since=NOW - 60)
    assert owns(alone, seen("", "a")) == ("a", 2)


# --------------------------------------------------------------------------------- a new epoch


def test_what_nodes_remember_is_above_the_record() -> None:
    """Executed, or promised away: an epoch that they would refuse is not granted."""
    master = word("b", Vrrp.MASTER)
    assert owns(served(word("a", highest=57), master)) == ("b", 58)
    assert owns(served(word("a", highest=1, released=60), master)) == ("b", 61)
    assert owns(served(word("a", highest=10**9), master)) == ("b", 2)


def test_the_time_of_a_challenge_counts_only_for_its_own_claimant() -> None:
    """A yields while it is challenged by b; c, who is preferred, claims too, and was not asked."""
    rival = word("c", Vrrp.MASTER, priority=200)
    record = challenged(served(word("a"), word("b", Vrrp.MASTER), rival), at=3)
    after = decide(CLUSTER, record, seen()).record
    assert (after.owner, after.counted_from, after.challenge) == ("c", NOW, None)
    mine = challenged(served(word("a"), word("b", Vrrp.MASTER)), at=3)
    assert decide(CLUSTER, mine, seen()).record.counted_from == NOW - 3


def test_the_last_owner_is_that_of_the_last_settled_epoch() -> None:
    """B never finished: what a may hold is still to be asked for."""
    after = decide(CLUSTER, moving(word("a", highest=2, serving=1)), seen(b=Power.STOPPED)).record
    assert (after.owner, after.previous) == ("a", "a")
    after = decide(CLUSTER, moving(word("a", agent=False, serving=1)), seen(b=Power.STOPPED)).record
    assert (after.owner, after.previous) == ("c", "a")


def test_a_new_epoch_begins_without_the_troubles_of_the_old_one() -> None:
    """Obstacle and contradiction are found anew, or are gone; the challenge is decided."""
    trouble = Obstacle(Reason.NO_FENCE, "stop it", NOW - 100)
    record = challenged(served(obstacle=trouble, adrift_since=NOW - 3))
    after = granting.grant(Facts(CLUSTER, record, seen()), Grant("b", "because"))
    assert (after.obstacle, after.adrift_since, after.challenge) == (None, None, None)


def test_what_ec2_does_not_show_is_not_lost() -> None:
    """A serves; a Describe that failed is no reason to unmount."""
    grant = Grant("a", "because")
    assert granting.grant(Facts(CLUSTER, served(), seen("b")), grant).mend == ("v",)
    assert granting.grant(Facts(CLUSTER, served(), seen(None)), grant).mend == ()


# ---------------------------------------------------------------------------- settled, held


def test_what_is_elsewhere_too_or_on_its_way_out_is_not_there() -> None:
    """B may acquire what is attached to it, and to nobody else."""
    assert (Verb.ACQUIRE, "b") in sent(decide(CLUSTER, ready(), seen("b", "b")))
    leaving = decide(CLUSTER, ready(), seen("b", "b", Attached.DETACHING))
    assert sent(leaving) == set()
    both = seen("b", "b")
    at = (Attachment("b", "/dev/sdf", Attached.ATTACHED), Attachment("a", "/dev/sdf", Attached.BUSY))
    both = replace(both, volumes=(VolumeView("v", at),))
    assert sent(decide(CLUSTER, ready(), both)) == set()


def test_settled_is_only_what_has_its_volumes() -> None:
    """B serves epoch 2 by its own word, and EC2 shows the volume on its way out."""
    serving = word("b", Vrrp.MASTER, highest=2, serving=2)
    assert decide(CLUSTER, ready(serving), seen("b", "b")).record.settled
    assert not decide(CLUSTER, ready(serving), seen("b", "b", Attached.DETACHING)).record.settled


def test_the_last_owner_may_hold_even_if_it_was_never_sent_an_acquire() -> None:
    """The record was lost and adopted it as it was."""
    record = moving(word("a", highest=1, serving=1))
    record = record.with_seat(replace(record.seat("a"), held=None))
    decision = decide(CLUSTER, record, seen("", ""))
    assert (Verb.RELEASE, "a") in sent(decision)
    assert calls(decision) == []


def test_one_that_ec2_does_not_show_is_not_forced() -> None:
    """Not shown is not "without a volume"."""
    forced = replace(CLUSTER, fence=CLUSTER.fence.FORCE_DETACH)
    assert Facts(forced, unreleased(), seen("", "")).is_clear("a")
    assert not Facts(forced, unreleased(), seen(None, "")).is_clear("a")


def test_an_owner_that_rebooted_since_it_answered_proves_nothing() -> None:
    """Its answer is from the boot before; it is asked again, and nobody is fenced meanwhile."""
    record = unreleased()
    assert calls(decide(CLUSTER, record, seen())) == ["Fence"]
    again = word("b", Vrrp.MASTER, boot="b/2")
    words = tuple(again if w.node == "b" else w for w in record.words)
    assert calls(decide(CLUSTER, replace(record, words=words), seen())) == []
