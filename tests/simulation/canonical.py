"""One world for all those that nobody can tell apart, so that an exploration meets it once.

Each rule forgets what no later step can depend on; a test lets random worlds and their canonical
forms go on side by side, and compares.
"""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import TypeVar

from chalicelib.model import Record
from chalicelib.progress import Done
from tests.simulation import physics
from tests.simulation.effects import effect
from tests.simulation.world import Driver, World

T = TypeVar("T")


def canonical(world: World, before: World | None = None) -> World:
    """The world that stands for this one and all that are like it.

    `before`: a canonical world that this one comes from; parts that are still the same need no work.
    """
    is_unwritten = before and world.record is before.record and world.drivers is before.drivers
    if before is None or world.bus is not before.bus:
        world = effect("bus", _sorted_bus, world)()
    if not is_unwritten:
        world = effect("record drivers", _relative_versions, world)()
    if not is_unwritten or before is None or world.cloud is not before.cloud:
        world = effect("record drivers cloud", _wanted_answers, world)()
    return world


def _sorted_bus(world: World) -> World:
    """Words under way come in any order: which one was said first does not matter."""
    bus = sorted(world.bus, key=lambda word: (word.node, word.sequence))
    return world.with_(bus=tuple(bus))


def _relative_versions(world: World) -> World:
    """Versions only grow and are only compared with the stored ones: equal, or outdated for ever."""
    drivers = tuple(_outdated(driver, world.record) for driver in world.drivers)
    record = replace(world.record, version=0, words_version=0)
    return world.with_(record=record, drivers=drivers)


def _outdated(driver: Driver, stored: Record) -> Driver:
    if driver.ends is not None:
        actions, until, record = driver.ends
        driver = replace(driver, ends=(actions, until, _relative(record, stored)))
    return replace(driver, replies=tuple(_relative(reply, stored) for reply in driver.replies))


def _relative(reply: T, stored: Record) -> T:
    if not isinstance(reply, Record):
        return reply
    version = 0 if reply.version == stored.version else -1
    words_version = 0 if reply.words_version == stored.words_version else -1
    return replace(reply, version=version, words_version=words_version)


def _wanted_answers(world: World) -> World:
    """Answers that the record asks for, or that a driver is about to write that it asks for."""
    ids = physics.wanted(world.record)
    for driver in world.drivers:
        for reply in (*driver.replies, driver.done):
            if isinstance(reply, tuple):
                ids |= {done.id for done in reply if isinstance(done, Done)}
    answers = tuple(sorted((pair for pair in world.cloud.answers if pair[0] in ids), key=itemgetter(0)))
    return world.with_(cloud=replace(world.cloud, answers=answers))
