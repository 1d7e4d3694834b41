"""One decision: what to record and what to do, given the record and what is seen. Pure.

The owner is ruled first (`ownership`), then the next steps towards it follow (`handover`). The
record that comes back already holds the intent of each action: persist it, then act.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import contest, granting, handover, news, ownership, progress, timing
from chalicelib.asking import backoff
from chalicelib.facts import Facts
from chalicelib.model import (
    Cluster,
    Command,
    Decision,
    Observation,
    Obstacle,
    Reason,
    Record,
    Send,
    Verb,
)
from chalicelib.rulings import Block, Call, Grant, Keep, Ruling
from chalicelib.steps import Plan


def decide(cluster: Cluster, record: Record, seen: Observation) -> Decision:
    """The decision at this observation. The same input always gives the same decision."""
    before = record
    facts = Facts(cluster, record, seen)
    facts = replace(facts, record=progress.absorb(facts))
    if facts.is_settled() and not facts.record.settled:
        facts = replace(facts, record=handover.settle(facts))
    ruling = ownership.rule(facts)
    facts = replace(facts, record=_ruled(facts, ruling))
    plan = _challenge(facts) if isinstance(ruling, Call) else handover.next_steps(facts)
    record = progress.intend(facts, plan.actions)
    record = replace(record, obstacle=_obstacle(facts, ruling, plan))
    look_at = _look_at(facts, ruling, plan)
    return Decision(record, plan.actions, look_at, news.between(before, record))


def _ruled(facts: Facts, ruling: Ruling) -> Record:
    """The record as the ruling changes it."""
    record = facts.record
    if isinstance(ruling, Grant):
        return granting.grant(facts, ruling)
    if isinstance(ruling, Call):
        return contest.open_challenge(facts, ruling)
    if ruling.refuse and record.challenge is not None:
        fruitless = ruling.reason if isinstance(ruling, Block) else None
        refused = replace(record.challenge, refused_at=facts.now, fruitless=fruitless)
        return replace(record, challenge=refused)
    if isinstance(ruling, Keep | Block) and (facts.cluster.paused or not _is_contested(facts)):
        return replace(record, challenge=None)
    return record


def _is_contested(facts: Facts) -> bool:
    claimants = facts.claimants()
    return facts.record.owner in claimants and len(claimants) > 1


def _challenge(facts: Facts) -> Plan:
    """Both commands of a challenge, in one breath."""
    record, challenge = facts.record, facts.record.challenge
    if challenge is None:
        return Plan()
    owner, claimant = record.word(challenge.owner), record.word(challenge.claimant)
    release = Command(
        challenge.owner,
        Verb.RELEASE,
        challenge.epoch,
        owner.boot if owner else "",
        challenge.deadline,
        unless_master=True,
        volumes=facts.cluster.volumes,
    )
    status = Command(
        challenge.claimant,
        Verb.STATUS,
        challenge.epoch,
        claimant.boot if claimant else "",
        max(challenge.deadline, facts.now + timing.STATUS_SECONDS),
        volumes=facts.cluster.volumes,
    )
    return Plan((Send(release), Send(status)))


def _obstacle(facts: Facts, ruling: Ruling, plan: Plan) -> Obstacle | None:
    """What blocks the cluster; `since` stays while the reason does."""
    obstacles = [(ruling.reason, ruling.text)] if isinstance(ruling, Block) else []
    obstacles += plan.obstacles
    obstacles += _nobody(facts)
    if not obstacles:
        return None
    reason, text = obstacles[0]
    last = facts.record.obstacle
    since = last.since if last is not None and last.reason is reason else facts.now
    return Obstacle(reason, text, since)


def _nobody(facts: Facts) -> list[tuple[Reason, str]]:
    """Nobody claims, and it lasts: nothing moves for that, but people should know."""
    record = facts.record
    since = record.nobody_since
    if record.owner is None or since is None or facts.now - since < timing.NOBODY_SECONDS:
        return []
    text = "no node says MASTER: keepalived has taken the address off every interface"
    return [(Reason.NOBODY_CLAIMS, text)]


STUCK = (Reason.CANNOT_ACQUIRE, Reason.DAMAGED, Reason.ABSURD_EPOCH)
"""Rulings that let an unfinished epoch rest: only a word, an answer or time brings it on."""


def _look_at(facts: Facts, ruling: Ruling, plan: Plan) -> float | None:
    """When to look again; None if only a word, a signal or the sweep can bring anything new.

    A moment that has passed brings nothing either: to look at once, again and again, would be all.
    """
    now, record = facts.now, facts.record
    looks = [] if plan.look_at is None else [plan.look_at]
    if record.settled and record.adrift_since is not None:
        looks.append(record.adrift_since + timing.ADRIFT_SECONDS)
    failed = [seat for seat in record.seats if seat.failed_at is not None and not record.settled]
    looks += [(seat.failed_at or now) + backoff(seat.failures) for seat in failed]
    if contest.is_open(record) and record.challenge is not None:
        looks += [_poll(now, record.challenge.at)] if now < record.challenge.deadline else []
        looks.append(record.challenge.deadline)
    is_stuck = bool(plan.obstacles) or (isinstance(ruling, Block) and ruling.reason in STUCK)
    if plan.actions or (record.owner and not record.settled and not is_stuck):
        looks.append(_poll(now, record.granted_at))
    look = min((at for at in looks if at > now), default=None)
    return look if look is not None and look - now <= timing.LINGER_SECONDS else None


def _poll(now: float, since: float) -> float:
    """The next look at what has been under way since then: often at first, then less and less."""
    return now + min(max((now - since) / 4, timing.POLL_SECONDS), timing.POLL_MOST_SECONDS)
