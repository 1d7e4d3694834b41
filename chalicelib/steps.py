"""The single steps of a hand-over: what each needs before it may be taken. Pure.

Each function looks at one thing and returns a Plan: actions that are due now, obstacles, and when
to look again. `handover.py` puts them in order.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib import timing
from chalicelib.asking import backoff, resend_at
from chalicelib.facts import Facts
from chalicelib.model import (
    Action,
    Attach,
    Attached,
    Command,
    Detach,
    Intent,
    Move,
    Mutation,
    Outcome,
    Power,
    Reason,
    Send,
    Verb,
)

DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
"""The names that EC2 recommends for EBS data volumes on HVM instances."""

DEVICE_TAKEN = "device-taken"
"""Code of an Attach that condemns the device name, and not the attachment."""

FENCE_BUDGET = "fence-budget"
"""Code of a Stop that the fleet's budget did not let pass."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due, what stands in the way, and when to look again at the earliest."""

    actions: tuple[Action, ...] = ()
    obstacles: tuple[tuple[Reason, str], ...] = ()
    look_at: float | None = None

    def __add__(self, other: Plan) -> Plan:
        looks = [at for at in (self.look_at, other.look_at) if at is not None]
        return Plan(
            self.actions + other.actions,
            self.obstacles + other.obstacles,
            min(looks, default=None),
        )


NOTHING = Plan()


def blocked(reason: Reason, text: str, look_at: float | None = None) -> Plan:
    """Nothing can be done about this now, and a person should know."""
    return Plan(obstacles=((reason, text),), look_at=look_at)


# --------------------------------------------------------------------------------- commands


def command(facts: Facts, node: str, verb: Verb, seconds: float) -> Command:
    """A command of this epoch to a node, in the boot that it is known to be in."""
    word = facts.record.word(node)
    boot = word.boot if word else ""
    epoch, volumes = facts.record.epoch, facts.cluster.volumes
    return Command(node, verb, epoch, boot, facts.now + seconds, volumes=volumes)


def ask_status(facts: Facts, node: str, since: float) -> Plan:
    """Ask a node for `status`, once since a moment and then at growing intervals."""
    if facts.answered(node, since=since) or facts.seen.power(node) is not Power.RUNNING:
        return NOTHING
    if facts.is_booting(node):
        return NOTHING  # its first word is what is waited for
    asked = facts.record.asked(node, Verb.STATUS)
    if asked is not None and asked.at >= since and asked.answer is None:
        again = resend_at(asked) or asked.at + backoff(asked.tries, timing.STATUS_SECONDS)
        if facts.now < again:
            return Plan(look_at=again)
    return Plan((Send(command(facts, node, Verb.STATUS, timing.STATUS_SECONDS)),))


def ask_silent(facts: Facts) -> Plan:
    """Silent nodes whose words are fresh are asked now and then: they may have recovered."""
    plan = NOTHING
    others = () if facts.record.settled else (facts.record.owner, *facts.unclear())
    for seat in facts.record.seats:
        asked_anyway = seat.node in others
        if seat.silent_since is not None and facts.is_fresh(seat.node) and not asked_anyway:
            plan += ask_status(facts, seat.node, since=seat.silent_since)
    return Plan(plan.actions)


# ---------------------------------------------------------------------------------- resources


def detach(facts: Facts, owner: str) -> Plan:
    """Take each volume off every node but the owner; and off the owner what is to be mended."""
    plan = NOTHING
    for view in facts.seen.volumes:
        for at in view.attachments:
            if at.state in (Attached.DETACHING, Attached.BUSY):
                plan += _await_detach(facts, view.volume, at.node)
            elif at.node != owner or _is_to_mend(facts, view.volume, owner):
                plan += due(facts, Detach(view.volume, at.node))
    return plan


def _is_to_mend(facts: Facts, volume: str, owner: str) -> bool:
    """Whether a volume is still as it was found, neither taken off nor attached anew since."""
    touched = any(
        i.epoch == facts.record.epoch
        and i.outcome is Outcome.DONE
        and isinstance(i.action, Attach | Detach)
        and (i.action.volume, i.action.node) == (volume, owner)
        for i in facts.record.intents
    )
    return volume in facts.record.mend and not touched


def _await_detach(facts: Facts, volume: str, node: str) -> Plan:
    stuck_at = facts.record.granted_at + timing.STUCK_SECONDS
    if facts.now < stuck_at:
        return Plan(look_at=stuck_at)
    return blocked(Reason.STUCK_VOLUME, f"{volume} stays in detaching on {node}")


def move(facts: Facts, owner: str) -> Plan:
    """Move the addresses to the owner's interface in their own subnet, one call an interface."""
    targets: dict[str, list[str]] = {}
    for view in facts.seen.addresses:
        target = view.target(owner)
        if target is None:
            text = f"{owner} has no interface in the subnet of {view.address}"
            return blocked(Reason.MISSING, text)
        if view.interface != target:
            targets.setdefault(target, []).append(view.address)
    plan = NOTHING
    for target, addresses in sorted(targets.items()):
        plan += due(facts, Move(tuple(sorted(addresses)), target, owner))
    return plan


def attach(facts: Facts, owner: str) -> Plan:
    """Attach each volume that is nowhere, under a device name that is free on the owner."""
    view = facts.seen.instance(owner)
    if view is None or view.power is not Power.RUNNING:
        return NOTHING
    taken = {*view.devices, *_refused_devices(facts, owner)}
    plan = NOTHING
    for volume in facts.seen.volumes:
        if volume.attachments:
            continue
        meant = _meant_device(facts, volume.volume, owner)
        device = meant or next((d for d in DEVICES if d not in taken), None)
        if device is None:
            return plan + blocked(Reason.REFUSED, f"no device name is free on {owner}")
        taken.add(device)
        plan += due(facts, Attach(volume.volume, owner, device))
    return plan


def _attaches(facts: Facts, owner: str) -> list[tuple[Attach, Intent]]:
    epoch = facts.record.epoch
    return [
        (i.action, i)
        for i in facts.record.intents
        if isinstance(i.action, Attach) and i.action.node == owner and i.epoch == epoch
    ]


def _refused_devices(facts: Facts, owner: str) -> set[str]:
    mine = _attaches(facts, owner)
    return {attach.device for attach, i in mine if i.code == DEVICE_TAKEN}


def _meant_device(facts: Facts, volume: str, owner: str) -> str | None:
    """The device of an Attach that may yet happen or may be tried again: never two names."""
    mine = [a for a, i in _attaches(facts, owner) if i.code != DEVICE_TAKEN]
    return next((attach.device for attach in mine if attach.volume == volume), None)


# ------------------------------------------------------------------------------------- retries


def due(facts: Facts, action: Mutation) -> Plan:
    """The action, if it was not tried in this epoch or is to be tried again by now."""
    epoch = facts.record.epoch
    same = [i for i in facts.record.intents if i.action == action and i.epoch == epoch]
    if not same:
        return Plan((action,))
    intent = same[-1]
    again = intent.at + _interval(intent)
    plan = Plan((action,)) if facts.now >= again else Plan(look_at=again)
    if intent.outcome is Outcome.REFUSED:
        return plan + blocked(Reason.REFUSED, f"{_name(action)}: EC2 says {intent.code}")
    if intent.code == FENCE_BUDGET:
        text = "too many nodes were stopped in the last minutes over the fleet"
        return plan + blocked(Reason.FENCE_BUDGET, text)
    return plan


def _interval(intent: Intent) -> float:
    """Seconds until a call is made again: short if it surely did not happen."""
    if intent.outcome is Outcome.NOT_YET:
        return backoff(intent.tries, timing.NOT_YET_SECONDS)
    if intent.tries >= timing.TRIES_MOST:
        return timing.RETRY_MOST_SECONDS
    return backoff(intent.tries)


def _name(action: Mutation) -> str:
    return f"{type(action).__name__} {action.node}"
