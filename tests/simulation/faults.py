"""Every fault that may still happen: deaths, copies, losses, unknown outcomes, late calls. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chalicelib import timing
from chalicelib.model import Send, Word
from chalicelib.reconcile import Act
from tests.simulation import physics
from tests.simulation.drivers import action_text, drive, tidy
from tests.simulation.effects import effect
from tests.simulation.instant import arrive, told_to, without
from tests.simulation.scope import Scope, Step
from tests.simulation.world import Driver, Late, World, request

UNCERTAIN = (
    ("unknown", "unknowns"),
    ("lost", "unknowns"),
    ("late", "lates"),
    ("throttled", "throttles"),
)
"""Outcomes of a call that are no answer, and how many of them may still be.

An unknown one has taken effect, a lost one has not; a late one does so at some later moment."""


PAUSES = (timing.LEASE_SECONDS + 1, 4 * timing.LEASE_SECONDS)
"""How long a driver is frozen: past its lease, and past a hand-over or two by others."""

STALE_SECONDS = 4.0
"""How long Describes may show what was before: AWS promises nothing; seconds are seen."""


def faults(scope: Scope, world: World, words: tuple[Word, ...] | None = None) -> Iterator[Step]:
    """Every fault that is left. `words`: those that one may befall; all, if None."""
    left = world.left
    for driver in world.drivers:
        yield from on_driver(scope, world, driver)
    for word in dict.fromkeys(world.bus if words is None else words):
        yield from on_word(scope, world, word)
    if left.doubles:
        spent = spend(world, "doubles")
        for mail in world.cloud.mail:
            host = world.host(mail.command.node)
            if host.runs and host.agent:
                label = told_to(mail) + ", and will again"
                yield Step(label, "double", effect("hosts cloud bus", physics.deliver_twice, spent, mail))
    if left.stales and world.cloud.shown is None:
        stale = effect("cloud", _stale, spend(world, "stales"))
        yield Step("Describes are stale from now on", "stale", stale)
    for late in world.cloud.late:
        label = f"{action_text(late.action)} lands late"
        yield Step(label, "late", effect("cloud hosts", _land, scope, world, late))


def on_driver(scope: Scope, world: World, driver: Driver) -> Iterator[Step]:
    """What may befall a driver, and the call that it makes."""
    if world.left.deaths:
        spent = spend(world, "deaths")
        yield Step(f"{driver.holder} dies", "death", effect("record cloud drivers", _die, spent, driver))
    if not driver.is_awake:
        return
    if world.left.pauses:
        for seconds in PAUSES:
            paused = effect("drivers", _pause, spend(world, "pauses"), driver, seconds)
            yield Step(f"{driver.holder} is frozen for {seconds:.0f} s", "pause", paused)
    asked = request(scope.cluster, driver)
    if isinstance(asked, Act):
        action = asked.actions[len(driver.done)]
        for outcome, budget in UNCERTAIN:
            is_possible = outcome != "late" or not isinstance(action, Send)
            if is_possible and getattr(world.left, budget):
                yield drive(scope, spend(world, budget), driver, outcome=outcome)


def spend(world: World, budget: str) -> World:
    """The world with one fault less to come."""
    return effect("left", _spend, world, budget)()


def _spend(world: World, budget: str) -> World:
    return world.with_(left=replace(world.left, **{budget: getattr(world.left, budget) - 1}))


def _pause(world: World, driver: Driver, seconds: float) -> World:
    return world.with_driver(replace(driver, frozen_until=world.now + seconds))


def _stale(world: World) -> World:
    cloud = replace(world.cloud, shown=world.cloud.attachments, stale_until=world.now + STALE_SECONDS)
    return world.with_(cloud=cloud)


def _die(world: World, driver: Driver) -> World:
    return tidy(world.with_driver(driver, gone=True))


def _land(scope: Scope, world: World, late: Late) -> World:
    rest = tuple(x for x in world.cloud.late if x != late)
    world = world.with_(cloud=replace(world.cloud, late=rest))
    return physics.call(world, scope.cluster, late.action)[0]


def on_word(scope: Scope, world: World, word: Word) -> Iterator[Step]:
    """What may befall a word under way."""
    if world.left.copies and world.bus.count(word) == 1:
        label = f"{word.node} {word.state.value} reaches Baton, and will again"
        copied = effect("record drivers bus", arrive, scope, spend(world, "copies"), word)
        yield Step(label, "copy", copied)
    if world.left.losses:
        lost = effect("bus", without, spend(world, "losses"), word)
        yield Step(f"{word.node} {word.state.value} is lost", "loss", lost)
