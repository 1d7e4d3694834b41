"""How a holder lets go: asked first, fenced if it must be, and started again afterwards. Pure."""

from __future__ import annotations

from chalicelib import timing
from chalicelib.asking import backoff, resend_at, was_sent
from chalicelib.facts import Facts, is_open
from chalicelib.model import Detach, Fence, FencePolicy, Intent, Power, Reason, Send, Start, Verb
from chalicelib.steps import NOTHING, Plan, ask_status, blocked, command, due


def let_go(facts: Facts, node: str) -> Plan:
    """A holder has to let go: asked first, fenced if it had its time and the owner answers."""
    power = facts.seen.power(node)
    intent = facts.fence_intent(node)
    if intent is not None or power in (Power.STOPPING, Power.SHUTTING_DOWN):
        return _await_off(facts, node, intent)
    if facts.is_booting(node):
        return Plan(look_at=facts.now + timing.POLL_SECONDS)
    owner = facts.record.owner or ""
    plan = _release(facts, node)
    if node == owner:
        return plan + _await_owner(facts)
    if facts.is_overdue(node) and not plan.actions:
        return plan + fence(facts, node)
    if _is_late(facts, node) and not facts.answered(owner):
        text = f"neither {node} nor {owner} answers: SSM is in trouble, or both are"
        return plan + blocked(Reason.NOBODY_ANSWERS, text)
    last = facts.record.obstacle
    if last is not None and last.reason is Reason.NO_FENCE and _is_late(facts, node):
        return plan + blocked(last.reason, last.text)
    return plan


def _await_owner(facts: Facts) -> Plan:
    """The owner itself has to let go of what is to be mended: it is never fenced for that."""
    owner = facts.record.owner or ""
    if not _is_late(facts, owner):
        return NOTHING
    return blocked(Reason.STUCK_VOLUME, f"{owner} does not release a volume that is to be attached anew")


def _is_late(facts: Facts, node: str) -> bool:
    """Whether a Release went by unanswered; it still counts while another one is under way."""
    asked, last = facts.record.asked(node, Verb.RELEASE), facts.record.obstacle
    if asked is None or asked.answer is not None or asked.command.epoch != facts.record.epoch:
        return False
    lasting = (Reason.NOBODY_ANSWERS, Reason.NO_FENCE, Reason.STUCK_VOLUME)
    was_late = last is not None and last.reason in lasting
    return was_late or (was_sent(asked) and facts.now >= asked.command.deadline)


def _release(facts: Facts, node: str) -> Plan:
    """Release, once in this epoch and then at growing intervals; at once when SSM works again."""
    asked = facts.record.asked(node, Verb.RELEASE)
    order = command(facts, node, Verb.RELEASE, facts.cluster.release_seconds)
    if asked is None or asked.command.epoch != facts.record.epoch:
        return Plan((Send(order),))
    deadline, is_overdue = asked.command.deadline, facts.is_overdue(node)
    again = resend_at(asked) or deadline + backoff(asked.tries)
    is_void = was_sent(asked) and facts.now >= deadline and not is_overdue
    if is_void and node != facts.record.owner and facts.answered(facts.record.owner or ""):
        again = facts.now  # the owner answered too late to say anything about that Release
    if facts.now >= again:
        return Plan((Send(order),))
    return Plan(look_at=again if facts.now >= deadline else min(again, deadline))


def fence(facts: Facts, node: str) -> Plan:
    """Stop a holder that does not let go, or what else the policy says."""
    if facts.seen.power(node) is Power.UNKNOWN:
        return Plan(look_at=facts.now + timing.POLL_MOST_SECONDS)
    if facts.cluster.fence is FencePolicy.STOP:
        return due(facts, Fence(node))
    held = [v.volume for v in facts.seen.volumes if any(a.node == node for a in v.attachments)]
    if facts.cluster.fence is FencePolicy.FORCE_DETACH:
        plan = NOTHING
        for volume in held:
            plan += due(facts, Detach(volume, node, force=True))
        return plan
    text = f"{node} does not release, and the policy allows no fence: stop it, then confirm-fenced"
    return blocked(Reason.NO_FENCE, text)


def fence_deaf(facts: Facts) -> Plan:
    """A master that serves nothing and does not answer, while the owner does, is in the way.

    It holds the address on its interface, so that nobody reaches the owner.
    """
    owner = facts.record.owner or ""
    plan = NOTHING
    for node in facts.claimants():
        silent = facts.record.seat(node).silent_since
        is_deaf = silent is not None and facts.is_fresh(node) and not facts.is_off(node)
        serves = node == owner or facts.serves(node) or not facts.is_clear(node)
        if is_deaf and not serves and facts.is_able(owner) and not facts.claims(owner):
            plan += _try_both(facts, node, owner)
    return plan


def _try_both(facts: Facts, node: str, owner: str) -> Plan:
    """Ask the owner in the same breath as the deaf node: if neither answers, it is SSM's trouble."""
    asked, control = facts.record.asked(node, Verb.STATUS), facts.record.asked(owner, Verb.STATUS)
    if asked is None or asked.at < (facts.record.seat(node).silent_since or 0.0):
        return NOTHING  # `ask_silent` asks it now
    if control is None or control.at < asked.at:
        return ask_status(facts, owner, since=asked.at)
    answered_at = control.answered_at
    if answered_at is None or not was_sent(asked) or facts.now < asked.command.deadline:
        return Plan(look_at=asked.command.deadline)
    half_time = (asked.at + asked.command.deadline) / 2
    return fence(facts, node) if answered_at <= half_time else NOTHING


def _await_off(facts: Facts, node: str, intent: Intent | None) -> Plan:
    """A Stop was sent, or the instance is stopping by itself: only `stopped` counts."""
    since = intent.at if intent else facts.record.granted_at
    if intent and facts.seen.power(node) is Power.RUNNING:
        plan = due(facts, Fence(node))
        if plan.actions or plan.obstacles:
            return plan
    stuck_at = since + facts.cluster.stopping_seconds
    if facts.now < stuck_at:
        return Plan(look_at=stuck_at)
    text = f"{node} does not become stopped: see to it, then confirm-fenced"
    return blocked(Reason.STUCK_STOPPING, text)


def start_again(facts: Facts) -> Plan:
    """Start what Baton fenced, so that it returns as backup; at most once an hour."""
    plan = NOTHING
    for seat in facts.record.seats:
        if seat.fenced_at is None or facts.seen.power(seat.node) is not Power.STOPPED:
            continue
        if seat.started_at and facts.now < seat.started_at + timing.START_AGAIN_SECONDS:
            continue
        if any(is_open(i, facts.now) and _names(i, seat.node) for i in facts.record.intents):
            continue
        plan += due(facts, Start(seat.node))
    return plan


def _names(intent: Intent, node: str) -> bool:
    return intent.action.node == node
