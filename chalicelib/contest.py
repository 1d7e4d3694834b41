"""Two nodes claim: the owner and another. Who is right is found out by asking both. Pure.

The owner is challenged (`release --unless-master`, under a reserved epoch) and the claimant is
asked for `status` in the same breath: if neither answers, it is SSM that is in trouble and not the
owner. A refused claim is not asked again at each heartbeat: only when the owner falls silent, at
growing intervals, or when either node's state changes (which ends the contest by itself).
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import timing
from chalicelib.asking import backoff
from chalicelib.facts import Facts
from chalicelib.model import (
    Asked,
    Challenge,
    Outcome,
    Reason,
    Record,
    Verb,
    Vrrp,
)
from chalicelib.rulings import Block, Call, Grant, Keep, Ruling


def rule(facts: Facts, owner: str, rivals: tuple[str, ...]) -> Ruling:
    """The ruling while the owner claims and others do."""
    able = [node for node in rivals if facts.is_able(node)]
    if not able:
        return Block(Reason.NO_CLAIMANT_ABLE, f"{rivals[0]} claims too, but is not able")
    if facts.seen.power(owner).is_off:
        return Grant(able[0], f"EC2 says that {owner} is {facts.seen.power(owner).value}")
    if facts.is_off(owner):
        return Grant(able[0], f"a person confirmed that {owner} is off")
    if facts.is_released(owner):
        return _unheld(facts, owner, able)
    challenge = facts.record.challenge
    if challenge is None or challenge.owner != owner:
        return Call(owner, able[0])
    if challenge.claimant not in able:
        return Call(owner, able[0], challenge.times)
    if challenge.refused_at is not None:
        return _refused(facts, challenge)
    return _open(facts, challenge)


def _unheld(facts: Facts, owner: str, able: list[str]) -> Ruling:
    """The owner holds nothing: the best claimant may have it, without a challenge.

    A challenge that made it release is answered by that, and ends: an epoch that is challenged goes
    no further, and this one would wait for ever.
    """
    fit = [owner] if facts.is_able(owner) else []
    best = min((*able, *fit), key=facts.rank)
    if best == owner and not facts.record.settled:
        text = "claimed by two; the owner holds nothing yet, and is preferred"
        return Keep(text, refuse=is_open(facts.record))
    return Grant(best, f"{owner} holds nothing, and {best} is the best that claims")


def _refused(facts: Facts, challenge: Challenge) -> Ruling:
    """The claim was refused: it stands, but is challenged again only on the owner's silence."""
    owner = challenge.owner
    since = challenge.refused_at or challenge.at
    answered = is_still_master(facts, challenge, _asked(facts, challenge))
    if not (answered and facts.is_fresh(owner)) and facts.now >= since + backoff(challenge.times):
        return Call(owner, challenge.claimant, challenge.times + 1)
    if challenge.fruitless is not None and not answered:
        return Block(challenge.fruitless, f"{owner} has not answered a challenge; asked again soon")
    return Keep(f"{owner} said that it is master: the claim is refused")


def _open(facts: Facts, challenge: Challenge) -> Ruling:
    """The owner was challenged and has not been refused or granted yet."""
    owner, claimant = challenge.owner, challenge.claimant
    asked = _asked(facts, challenge)
    if is_still_master(facts, challenge, asked):
        return Keep(f"{owner} says that it is still master", refuse=True)
    if facts.now < challenge.deadline:
        return Keep(f"{owner} is challenged by {claimant}")
    if asked is None or asked.outcome in (None, Outcome.NOT_YET, Outcome.UNKNOWN):
        if challenge.times < timing.TRIES_MOST:
            return Call(owner, claimant, challenge.times + 1)
        text = f"the challenge to {owner} cannot be sent: SSM is in trouble"
        return Block(Reason.NOBODY_ANSWERS, text, refuse=True)
    if not facts.answered(claimant, since=challenge.at):
        text = f"neither {owner} nor {claimant} answers: SSM is in trouble, or both are"
        return Block(Reason.NOBODY_ANSWERS, text, refuse=True)
    if not facts.may_fence():
        text = f"{owner} does not answer, and the policy allows no fence"
        return Block(Reason.NO_FENCE, text, refuse=True)
    return Grant(claimant, f"{owner} did not answer the challenge, {claimant} did")


def is_still_master(facts: Facts, challenge: Challenge, asked: Asked | None) -> bool:
    """Whether the owner said so, by SSM or by a newer word, since it was challenged."""
    word = facts.record.word(challenge.owner)
    newer = word is not None and word.sequence > challenge.heard and word.state is Vrrp.MASTER
    return newer or (asked is not None and asked.answer is not None)


def _asked(facts: Facts, challenge: Challenge) -> Asked | None:
    asked = facts.record.asked(challenge.owner, Verb.RELEASE)
    if asked is None or asked.command.epoch != challenge.epoch:
        return None
    return asked


def open_challenge(facts: Facts, call: Call) -> Record:
    """The record with a new challenge, under an epoch reserved for it."""
    record = facts.record
    owner, claim = record.word(call.owner), record.word(call.claimant)
    epoch = record.highest_issued + 1
    challenge = Challenge(
        owner=call.owner,
        claimant=call.claimant,
        epoch=epoch,
        at=facts.now,
        heard=owner.sequence if owner else 0,
        claim=claim.sequence if claim else 0,
        deadline=facts.now + patience(facts, call.owner),
        times=call.times,
    )
    return replace(record, challenge=challenge, highest_issued=epoch)


def patience(facts: Facts, owner: str) -> float:
    """How long the owner may take to answer.

    Short only if its agent is known to be up and has answered so far; otherwise long enough for a
    heartbeat to say that it is master still.
    """
    word = facts.record.word(owner)
    alert = word is not None and word.agent and facts.is_fresh(owner)
    if alert and facts.record.seat(owner).silent_since is None:
        return facts.cluster.challenge_seconds
    return 2 * facts.cluster.heartbeat_seconds + timing.MARGIN_SECONDS


def is_open(record: Record) -> bool:
    """Whether a challenge waits for its answer."""
    return record.challenge is not None and record.challenge.refused_at is None
