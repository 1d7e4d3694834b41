"""The record in its table: words that come in, and the driver's half under its lease. Pure.

The conditions are those of the real store; the contract suite runs both. A broken guarantee raises
`Broken`.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import ownership, timing
from chalicelib.model import Cause, Lease, Notice, Record, Word
from tests.simulation.physics import Broken
from tests.simulation.world import World


def accept(world: World, word: Word) -> World:
    """A word reaches the record: conditional on that node's sequence alone."""
    record = world.record
    last = next((w for w in record.words if w.node == word.node), None)
    if not isinstance(ownership.accept(last, word, world.now), ownership.Accepted):
        return world
    others = tuple(w for w in record.words if w.node != word.node)
    words = tuple(sorted((*others, word), key=lambda w: w.node))
    record = replace(record, words=words, words_version=record.words_version + 1)
    bus = tuple(w for w in world.bus if not _changes_nothing(w, word, world.now))
    return world.with_(record=record, bus=bus)


def warn(world: World, name: str, seconds: float) -> World:
    """AWS says that it takes this node in so many seconds, and the record holds it."""
    record, host = world.record, world.host(name)
    at = world.now + seconds
    notice = Notice(name, Cause.SPOT, heard_at=world.now, at=at, until=at, boot=host.boot_id)
    others = tuple(n for n in record.notices if n.node != name)
    record = replace(record, notices=(*others, notice), words_version=record.words_version + 1)
    return world.with_(record=record)


def _changes_nothing(waiting: Word, accepted: Word, now: float) -> bool:
    """Whether a word on the bus would be ignored, so that when it comes need not be explored."""
    if waiting.node != accepted.node:
        return False
    return isinstance(ownership.accept(accepted, waiting, now), ownership.Ignored)


def take(world: World, record: Record, holder: str) -> tuple[World, Record | None]:
    """The lease, if nobody holds an unexpired one."""
    lease = world.record.lease
    if lease is not None and lease.holder != holder and lease.until >= world.now:
        return world, None
    taken = Lease(holder, world.now + timing.LEASE_SECONDS)
    stored = replace(world.record, lease=taken, version=world.record.version + 1)
    return world.with_(record=stored), stored


def persist(world: World, record: Record, holder: str) -> tuple[World, Record | None]:
    """The driver's half, conditional on the version and on its own unexpired lease."""
    stored, lease = world.record, world.record.lease
    is_mine = lease is not None and lease.holder == holder and lease.until > world.now
    if not is_mine or stored.version != record.version:
        return world, None
    _check_epochs(stored, record)
    new = replace(
        record,
        version=stored.version + 1,
        words=stored.words,
        notices=stored.notices,
        words_version=stored.words_version,
        lease=Lease(holder, world.now + timing.LEASE_SECONDS),
        marks=tuple((step, 0.0) for step, _ in record.marks),  # for people: when is not explored
    )
    return world.with_(record=new), new


def _check_epochs(old: Record, new: Record) -> None:
    if new.epoch < old.epoch or (new.epoch == old.epoch and new.owner != old.owner):
        raise Broken("S3", f"epoch {old.epoch} of {old.owner} became {new.epoch} of {new.owner}")
    if new.epoch > old.epoch and new.epoch <= old.highest_issued:
        raise Broken("S3", f"epoch {new.epoch} had been issued before")
    calls = {i.action: i.tries for i in new.intents if i.epoch == new.epoch}
    if sum(calls.values()) > 24:
        raise Broken("S13", f"epoch {new.epoch} makes more than 24 calls")


def give_up(world: World, record: Record, holder: str) -> tuple[World, bool]:
    """The lease goes back if no word came since the record was read."""
    stored, lease = world.record, world.record.lease
    if stored.words_version != record.words_version:
        return world, False
    if lease is None or lease.holder != holder or stored.version != record.version:
        return world, True
    return world.with_(record=replace(stored, lease=None)), True
