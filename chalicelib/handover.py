"""The hand-over: the next actions towards the owner of the epoch. Pure; read it top to bottom.

Theory of operation
-------------------
*Guarantee.* Nothing is taken from a node that may be holding: every possible holder has released
by its own word, or is off by EC2's, before any volume is detached or any address moved; and this
is asked anew before each of them. The owner mounts only what is on its way to it, after it has
answered in this epoch, and while no older call that would take it away again may still happen.

*Assumptions.* The caller persists the record before it acts, and observes after it has acted. A
node's word is true. EC2 detaches from the node that is named and from no other.

*Not guaranteed.* That a hand-over ends: without a fence, or without EC2, it is blocked, says why,
and goes on by itself when the facts change.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import contest, fencing, steps, yielding
from chalicelib.asking import resend_at
from chalicelib.facts import Facts
from chalicelib.model import Detach, Outcome, Power, Reason, Record, Send, Verb
from chalicelib.steps import Plan, blocked


def next_steps(facts: Facts) -> Plan:
    """What is due now. An empty plan for an unfinished epoch means: wait and look again."""
    owner = facts.record.owner
    if facts.cluster.paused and (owner is None or facts.record.settled):
        return steps.NOTHING
    if owner is None:
        return steps.ask_silent(facts)
    if facts.record.settled:
        plan = fencing.start_again(facts) + steps.ask_silent(facts) + fencing.fence_deaf(facts)
        return plan + yielding.hand_over(facts)
    if missing := _missing(facts) or _strangers(facts):
        return missing

    silent_since = facts.record.seat(owner).silent_since or 0.0
    plan = steps.ask_status(facts, owner, since=max(facts.record.counted_from, silent_since))
    plan += steps.ask_silent(facts)
    if not any(facts.is_able(node) for node in facts.cluster.nodes):
        plan += fencing.start_again(facts)  # better a node that boots than none at all
    unclear = facts.unclear()
    for node in unclear:
        plan += fencing.let_go(facts, node)
    if unclear or not facts.sees_all():
        return plan

    plan += steps.detach(facts, owner)
    plan += steps.move(facts, owner)
    plan += steps.attach(facts, owner)
    takes = any(isinstance(a, Detach) and a.node == owner for a in plan.actions)
    if not takes and _may_acquire(facts, owner):
        plan += _acquire(facts, owner)
    return plan


def settle(facts: Facts) -> Record:
    """The record once all agree: holders that are clear are forgotten, the way is closed."""
    record = facts.record
    for seat in record.seats:
        seat = replace(seat, spared=False)
        record = record.with_seat(seat)
        if seat.node == record.owner:
            record = record.with_seat(replace(seat, failures=0, failed_at=None))
        elif facts.is_clear(seat.node):
            record = record.with_seat(replace(seat, held=None))
    return replace(record, settled=True, mend=(), obstacle=None).marked("settled", facts.now)


def _missing(facts: Facts) -> Plan | None:
    """A volume that EC2 says does not exist."""
    gone = [view.volume for view in facts.seen.volumes if not view.exists]
    if not gone:
        return None
    return blocked(Reason.MISSING, f"EC2 knows no volume {', '.join(gone)}")


def _strangers(facts: Facts) -> Plan | None:
    """Whatever a node outside the cluster holds is not ours to take."""
    members = set(facts.cluster.nodes)
    held = [
        f"{view.volume} is attached to {at.node}"
        for view in facts.seen.volumes
        for at in view.attachments
        if at.node not in members
    ]
    held += [
        f"{view.address} is on {view.interface}"
        for view in facts.seen.addresses
        if view.interface is not None and view.holder not in members
    ]
    if not held:
        return None
    return blocked(Reason.STRANGER, f"{'; '.join(held)}, which is not of this cluster")


def _may_acquire(facts: Facts, owner: str) -> bool:
    """Whether the owner may mount: the volumes come, and nothing can take them away again."""
    return (
        facts.seen.power(owner) is Power.RUNNING
        and not facts.is_booting(owner)
        and facts.answered(owner)
        and facts.volumes_at(owner)
        and not contest.is_open(facts.record)
        and not facts.pending(owner)
        and all(_is_here_to_stay(facts, volume, owner) for volume in facts.cluster.volumes)
    )


def _is_here_to_stay(facts: Facts, volume: str, owner: str) -> bool:
    """Whether no Detach from the owner is the last thing done to a volume.

    A Describe can be stale: after a Detach that was done, "attached" is believed only once the
    volume was attached anew.
    """
    last = None
    for intent in facts.record.intents:
        if getattr(intent.action, "volume", None) == volume and intent.action.node == owner:
            last = intent
    taken = last is not None and isinstance(last.action, Detach)
    return not (taken and last is not None and last.outcome is not Outcome.REFUSED)


def _acquire(facts: Facts, owner: str) -> Plan:
    """Acquire, once in this epoch and boot. Its answer, or silence, is judged by ownership."""
    order = steps.command(facts, owner, Verb.ACQUIRE, facts.cluster.acquire_seconds)
    asked = facts.record.asked(owner, Verb.ACQUIRE)
    fresh = asked is None or asked.command.epoch != order.epoch or asked.command.boot != order.boot
    if asked is None or fresh:
        return Plan((Send(order),))
    again = resend_at(asked)
    if again is None:
        return Plan(look_at=asked.command.deadline if asked.answer is None else None)
    return Plan((Send(order),)) if facts.now >= again else Plan(look_at=again)
