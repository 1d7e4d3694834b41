"""What drivers do: the real `reconcile`, asked for its next request and given a reply. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from chalicelib import timing
from chalicelib.model import Observation, Outcome, Send
from chalicelib.progress import Done
from chalicelib.reconcile import Act, GiveUp, Load, Observe, Persist, Reply, Take, Tell, Wait
from tests.simulation import physics
from tests.simulation.scope import Scope, Step
from tests.simulation.world import Driver, Late, World, intern, request


def spawn(scope: Scope, world: World) -> World:
    """A Lambda is invoked: one more driver, unless as many as the scope allows are alive."""
    if len(world.drivers) >= scope.drivers or any(not d.taken for d in world.drivers):
        return world  # one that has yet to ask for the lease finds whatever a second would
    if world.record.lease is not None and world.record.lease.until > world.now:
        return world  # it would find the lease taken, and leave
    names = {driver.holder for driver in world.drivers}
    name = next(f"d{n}" for n in range(scope.drivers + 1) if f"d{n}" not in names)
    lease = world.record.lease
    if lease is not None and lease.holder == name:
        name += "'" * (1 + name.count("'"))
    return world.with_driver(Driver(name))


def tidy(world: World) -> World:
    """A world without what nobody can tell any more: counters when no driver is alive."""
    if world.drivers:
        return world
    record = world.record
    wanted = {a.id for seat in record.seats for a in seat.asked if a.answer is None}
    answers = tuple(pair for pair in world.cloud.answers if pair[0] in wanted)
    return world.with_(
        record=replace(record, version=0, words_version=0),
        cloud=replace(world.cloud, answers=answers),
    )


def drive(scope: Scope, world: World, driver: Driver, *, outcome: str = "") -> Step:
    """A driver's request is answered. Reads that follow one another are one move."""
    asked = request(scope.cluster, driver)
    if isinstance(asked, Act):
        return _act(scope, world, driver, asked, outcome)
    label = f"{driver.holder} {type(asked).__name__}"
    return Step(label, "", partial(_reply, scope, world, driver, asked))


def _reply(scope: Scope, world: World, driver: Driver, asked: Any) -> World:
    if isinstance(asked, Wait):
        return world.with_driver(replace(driver, wakes_at=asked.until))
    world, reply = _answer(world, driver, asked)
    return told(scope, world, driver, reply)


def _answer(world: World, driver: Driver, asked: Any) -> tuple[World, Reply]:
    if isinstance(asked, Load):
        return world, world.record
    if isinstance(asked, Persist):
        return physics.persist(world, asked.record, driver.holder)
    if isinstance(asked, GiveUp):
        return physics.give_up(world, asked.record, driver.holder)
    raise TypeError(f"no answer to {asked}")


def told(scope: Scope, world: World, driver: Driver, reply: Reply) -> World:
    """The driver with this reply; what it can do by itself, it does at once."""
    driver = replace(driver, replies=(*driver.replies, intern(reply)), done=())
    asked = request(scope.cluster, driver)
    while isinstance(asked, Tell):
        driver = replace(driver, replies=(*driver.replies, intern(None)))
        asked = request(scope.cluster, driver)
    if asked is False:
        return tidy(world.with_driver(driver, gone=True))
    if isinstance(asked, Take):
        world, taken = physics.take(world, asked.record, driver.holder)
        return told(scope, world, driver, taken)
    if asked is True:
        driver = replace(driver, taken=True, replies=())
        return told(scope, world, driver, world.record)
    if isinstance(asked, Observe):
        return told(scope, world, driver, physics.observe(world, scope.cluster))
    if isinstance(asked, Load):
        return told(scope, world, driver, world.record)
    if isinstance(asked, Persist) and _commutes(world, reply):
        world, kept = physics.persist(world, asked.record, driver.holder)
        return told(scope, world, driver, kept)
    return world.with_driver(driver)


def _commutes(world: World, reply: Reply) -> bool:
    """Whether a Persist may be one move with what came before it.

    After an observation always: what others do in between, they can as well do after it. After an
    Act only if the driver can neither die nor be held up between the two.
    """
    return isinstance(reply, Observation) or not (world.left.deaths or world.left.slow)


KINDS = {"unknown": "unknown", "lost": "unknown", "late": "unknown", "throttled": "throttle"}
"""The kind of fault that each unusual outcome is."""


def _act(scope: Scope, world: World, driver: Driver, asked: Act, outcome: str) -> Step:
    """The next action of an Act, with the outcome that is wanted: "" for what truly happens."""
    action = asked.actions[len(driver.done)]
    label = f"{driver.holder} {action_text(action)}"
    label = f"{label} ({outcome})" if outcome else label
    make = partial(_acted, scope, world, driver, asked, outcome)
    return Step(label, KINDS.get(outcome, ""), make)


def _acted(scope: Scope, world: World, driver: Driver, asked: Act, outcome: str) -> World:
    action = asked.actions[len(driver.done)]
    if not _is_intended(asked, action):
        raise physics.Broken("S9", f"{action_text(action)} without a durable intent")
    lease = asked.record.lease
    if lease is None or lease.until - world.now < timing.CALL_SECONDS:
        outcome = "too late"
    world, done = _perform(scope, world, action, outcome)
    driver = replace(driver, done=(*driver.done, done))
    if len(driver.done) < len(asked.actions):
        return world.with_driver(driver)
    return told(scope, world, driver, driver.done)


def _is_intended(asked: Act, action: Any) -> bool:
    if isinstance(action, Send):
        seat = asked.record.seat(action.command.node)
        return any(a.command == action.command for a in seat.asked)
    return any(i.action == action for i in asked.record.intents)


def _perform(scope: Scope, world: World, action: Any, outcome: str) -> tuple[World, Done]:
    now = world.now
    if outcome in ("throttled", "too late"):
        return world, Done(action, Outcome.NOT_YET, now, "RequestLimitExceeded")
    if outcome == "refused":
        return world, Done(action, Outcome.REFUSED, now, "UnauthorizedOperation")
    if outcome == "lost":
        return world, Done(action, Outcome.UNKNOWN, now)
    if outcome == "late" and not isinstance(action, Send):
        late = (*world.cloud.late, Late(action, now + timing.CALL_TTL_SECONDS))
        return world.with_(cloud=replace(world.cloud, late=late)), Done(action, Outcome.UNKNOWN, now)
    if isinstance(action, Send):
        world, id_, result = physics.send(world, action)
        if outcome == "unknown":
            return world, Done(action, Outcome.UNKNOWN, now)
        return world, Done(action, result, now, id=id_)
    world, result, code = physics.call(world, scope.cluster, action)
    if outcome == "unknown":
        return world, Done(action, Outcome.UNKNOWN, now)
    return world, Done(action, result, now, code)


def action_text(action: Any) -> str:
    """An action, for people."""
    if isinstance(action, Send):
        command = action.command
        word = " --unless-master" if command.unless_master else ""
        return f"sends {command.verb.value} {command.epoch}{word} to {command.node}"
    name = type(action).__name__.lower()
    thing = getattr(action, "volume", "") or " ".join(getattr(action, "addresses", ()))
    return f"{name} {thing} {action.node}".replace("  ", " ")
