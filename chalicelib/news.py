"""What people and machines are told: the differences between two records that matter. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.model import News, Record, Verb


def between(before: Record, after: Record) -> tuple[News, ...]:
    """The news of one decision, in the order in which they happened."""
    return tuple(_news(before, after))


def standing(record: Record) -> tuple[str, ...]:
    """The metrics of what lasts: an alarm sees only what is said within its minutes."""
    is_refused = record.challenge is not None and record.challenge.refused_at is not None
    return tuple(name for name, lasts in (("Blocked", record.obstacle), ("Refused", is_refused)) if lasts)


def _news(before: Record, after: Record) -> Iterator[News]:
    owner = after.owner or ""
    if after.epoch != before.epoch:
        yield News("granted", f"epoch {after.epoch} for {owner}: {after.because}", owner)
    yield from _contest(before, after)
    yield from _yielding(before, after)
    marked = {step for step, _ in before.marks} if after.epoch == before.epoch else set()
    for step, _ in after.marks:
        if step not in marked and step not in ("granted", "settled"):
            yield News(step, f"epoch {after.epoch}, {owner}: {step}", owner)
    if after.settled and not before.settled:
        yield News("settled", f"epoch {after.epoch}: {owner} serves", owner)
    if after.obstacle and (not before.obstacle or after.obstacle.reason != before.obstacle.reason):
        yield News("blocked", f"{after.obstacle.reason.value}: {after.obstacle.text}", owner)
    if before.obstacle and not after.obstacle:
        yield News("cleared", f"no longer blocked: {before.obstacle.reason.value}", owner)


def _contest(before: Record, after: Record) -> Iterator[News]:
    challenge, last = after.challenge, before.challenge
    if challenge is None:
        return
    if last is None or challenge.at != last.at:
        text = f"{challenge.claimant} claims too: {challenge.owner} is challenged"
        yield News("challenged", text, challenge.owner)
    elif challenge.refused_at is not None and last.refused_at is None:
        yield News("refused", f"the claim of {challenge.claimant} stands refused", challenge.claimant)


def _yielding(before: Record, after: Record) -> Iterator[News]:
    """An owner that AWS is about to take was asked to hand over."""
    owner = after.owner or ""
    asked, last = after.asked(owner, Verb.HANDOVER), before.asked(owner, Verb.HANDOVER)
    if asked is not None and (last is None or asked.at != last.at):
        text = f"AWS is about to take {owner}: it is asked to hand over to {asked.command.ready}"
        yield News("yielding", text, owner)
