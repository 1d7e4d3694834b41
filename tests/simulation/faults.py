"""Every fault that may still happen: deaths, copies, losses, unknown outcomes, late calls. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from chalicelib.model import Send
from chalicelib.reconcile import Act
from tests.simulation import physics
from tests.simulation.drivers import action_text, drive, tidy
from tests.simulation.instant import arrive, told_to, without
from tests.simulation.scope import Scope, Step
from tests.simulation.world import Driver, Late, World, request


def faults(scope: Scope, world: World) -> Iterator[Step]:
    left = world.left
    if left.deaths:
        spent = world.with_(left=replace(left, deaths=left.deaths - 1))
        for driver in world.drivers:
            yield Step(f"{driver.holder} dies", "death", partial(_die, spent, driver))
    if left.copies or left.losses:
        yield from _bus_faults(scope, world)
    if left.doubles:
        spent = world.with_(left=replace(left, doubles=left.doubles - 1))
        for mail in world.cloud.mail:
            host = world.host(mail.command.node)
            if host.runs and host.agent:
                label = told_to(mail) + ", and will again"
                yield Step(label, "double", partial(physics.deliver, spent, mail, keep=True))
    if left.unknowns:
        yield from _uncertain(scope, world, ("unknown", "lost", "late"), "unknowns")
    if left.throttles:
        yield from _uncertain(scope, world, ("throttled",), "throttles")
    for late in world.cloud.late:
        label = f"{action_text(late.action)} lands late"
        yield Step(label, "late", partial(_land, scope, world, late))


def _die(world: World, driver: Driver) -> World:
    return tidy(world.with_driver(driver, gone=True))


def _land(scope: Scope, world: World, late: Late) -> World:
    rest = tuple(x for x in world.cloud.late if x != late)
    world = world.with_(cloud=replace(world.cloud, late=rest))
    return physics.call(world, scope.cluster, late.action)[0]


def _bus_faults(scope: Scope, world: World) -> Iterator[Step]:
    left = world.left
    for word in dict.fromkeys(world.bus):
        if left.copies and world.bus.count(word) == 1:
            spent = world.with_(left=replace(left, copies=left.copies - 1))
            label = f"{word.node} {word.state.value} reaches Baton, and will again"
            yield Step(label, "copy", partial(arrive, scope, spent, word))
        if left.losses:
            spent = world.with_(left=replace(left, losses=left.losses - 1))
            yield Step(f"{word.node} {word.state.value} is lost", "loss", partial(without, spent, word))


def _uncertain(scope: Scope, world: World, outcomes: tuple[str, ...], budget: str) -> Iterator[Step]:
    spent = world.with_(left=replace(world.left, **{budget: getattr(world.left, budget) - 1}))
    for driver in world.drivers:
        asked = request(scope.cluster, driver)
        if driver.wakes_at is None and isinstance(asked, Act):
            action = asked.actions[len(driver.done)]
            for outcome in outcomes:
                if outcome != "late" or not isinstance(action, Send):
                    yield drive(scope, spent, driver, outcome=outcome)
