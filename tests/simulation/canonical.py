"""One world for all those that nobody can tell apart, so that an exploration meets it once.

Each rule forgets what no later step can depend on; a test lets random worlds and their canonical
forms go on side by side, and compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import itemgetter

from chalicelib.model import FencePolicy, Record
from tests.simulation import physics
from tests.simulation.effects import effect
from tests.simulation.essence import essence
from tests.simulation.pool import cache, intern, remember
from tests.simulation.scope import Scope
from tests.simulation.world import Driver, World


def canonical(scope: Scope, world: World, before: World | None = None) -> World:
    """The world that stands for this one and all that are like it.

    `before`: a canonical world that this one comes from; parts that are still the same need no work.
    """
    is_unwritten = (
        before is not None
        and world.now == before.now
        and world.record is before.record
        and world.drivers is before.drivers
    )
    by_force = scope.cluster.fence is FencePolicy.FORCE_DETACH
    if before is None or world.bus is not before.bus:
        world = effect("bus", _sorted_bus, world)()
    if not is_unwritten:
        world = effect("record drivers", _essential, by_force, world)()
    if not is_unwritten or before is None or world.cloud is not before.cloud:
        world = effect("record drivers cloud", _wanted_answers, world)()
    return world


def _sorted_bus(world: World) -> World:
    """Words under way come in any order: which one was said first does not matter."""
    bus = sorted(world.bus, key=lambda word: (word.node, word.sequence))
    return world.with_(bus=tuple(bus))


def _essential(by_force: bool, world: World) -> World:
    """What no decision depends on is forgotten, in the record and in what drivers hold of it.

    Versions only grow and are only compared with the stored ones: equal, or outdated for ever.
    """
    stored = world.record
    known = partial(_known, stored=stored, now=world.now, by_force=by_force)
    drivers = tuple(_driver(driver, stored, known) for driver in world.drivers)
    return world.with_(record=known(stored), drivers=drivers)


def _driver(driver: Driver, stored: Record, known: Callable[[Record], Record]) -> Driver:
    replies = tuple(known(reply) if isinstance(reply, Record) else reply for reply in driver.replies)
    if driver.ends is None:
        return replace(driver, replies=replies)
    actions, until, held = driver.ends
    if actions:  # what it writes next is its half, beside whatever words have come meanwhile
        held = known(replace(held, words=stored.words, notices=stored.notices))
        held = replace(held, words=(), notices=(), words_version=0)
    else:
        held = known(held)
    return replace(driver, replies=replies, ends=(actions, until, held))


def _known(record: Record, stored: Record, now: float, by_force: bool) -> Record:
    version = 0 if record.version == stored.version else -1
    words_version = 0 if record.words_version == stored.words_version else -1
    kept = _kept(intern(record), now, by_force)
    return replace(kept, version=version, words_version=words_version) if version or words_version else kept


_ESSENCES = cache()


def _kept(record: Record, now: float, by_force: bool) -> Record:
    """The essence of an interned record, as of version 0: most are met again and again."""
    key = (id(record), now, by_force)
    found: Record | None = _ESSENCES.get(key)
    if found is None:
        bare = replace(essence(record, now, by_force=by_force), version=0, words_version=0)
        found = intern(bare)
        remember(_ESSENCES, key, found, most=1_000_000)
    return found


def _wanted_answers(world: World) -> World:
    """Answers that the record asks for, or that a driver is about to write that it asks for."""
    ids = physics.wanted(world.record) | {done.id for done in physics.noted(world)}
    answers = tuple(sorted((pair for pair in world.cloud.answers if pair[0] in ids), key=itemgetter(0)))
    return world.with_(cloud=replace(world.cloud, answers=answers))
