"""An owner that AWS is about to take hands over in order, while it still can. Pure.

It is asked to give up mastership, as a person asks it: keepalived elects, and Baton follows the new
master by the rules that it always follows. So there is no second way to own anything, and the
address never is where keepalived has not put it.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import contest, notices, timing
from chalicelib.asking import backoff, resend_at
from chalicelib.facts import Facts
from chalicelib.model import Asked, Notice, Reason, Send, Verb
from chalicelib.steps import NOTHING, Plan, blocked, command


def hand_over(facts: Facts) -> Plan:
    """The owner of a settled cluster steps back for a node that stays; else people are told."""
    owner = facts.record.owner or ""
    notice = notices.standing(facts, owner)
    is_moving = facts.claimants() != (owner,) or contest.is_open(facts.record)
    if notice is None or not notices.is_warned(facts, owner) or is_moving:
        return NOTHING
    heir = notices.heir(facts, owner)
    if heir is None:
        text = f"AWS takes {owner} ({notice.cause.text}), and no node that stays is ready"
        return blocked(Reason.NO_HEIR, text)
    return _ask(facts, owner, heir, notice)


def _ask(facts: Facts, owner: str, heir: str, notice: Notice) -> Plan:
    """Ask, and ask again; but each try that nobody follows is an outage, so there are few.

    None is spent on an agent that is down: it would hear of it when it is up again, all at once.
    """
    word = facts.record.word(owner)
    if word is not None and not word.agent:
        text = f"AWS takes {owner} ({notice.cause.text}), and its SSM agent is down: it cannot be asked"
        return blocked(Reason.NO_HEIR, text)
    asked = _asked(facts, owner, notice)
    if asked is not None and asked.tries >= timing.TRIES_MOST and facts.now >= _again_at(asked):
        text = f"AWS takes {owner} ({notice.cause.text}), and {heir} does not become MASTER in its place"
        return blocked(Reason.NO_HEIR, text)
    if asked is not None and facts.now < _again_at(asked):
        return Plan(look_at=min(_again_at(asked), facts.now + timing.POLL_MOST_SECONDS))
    order = command(facts, owner, Verb.HANDOVER, timing.HANDOVER_SECONDS)
    return Plan((Send(replace(order, ready=heir)),))


def _asked(facts: Facts, owner: str, notice: Notice) -> Asked | None:
    """What it was asked in this epoch, since this was announced."""
    asked = facts.record.asked(owner, Verb.HANDOVER)
    if asked is None or asked.command.epoch != facts.record.epoch or asked.at < notice.heard_at:
        return None
    return asked


def _again_at(asked: Asked) -> float:
    return resend_at(asked) or asked.command.deadline + backoff(asked.tries)
