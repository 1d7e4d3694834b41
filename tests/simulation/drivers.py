"""What drivers do: the real `reconcile`, asked for its next request and given a reply. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chalicelib import timing
from chalicelib.model import Detach, Lease, Observation, Outcome, Record, Send
from chalicelib.progress import Done
from chalicelib.reconcile import Act, GiveUp, Load, Observe, Persist, Reply, Request, Take, Tell, Wait
from tests.simulation import physics, store
from tests.simulation.effects import effect
from tests.simulation.pool import intern
from tests.simulation.scope import Scope, Step
from tests.simulation.world import Driver, Late, World, request

SLEEPS = Record("", lease=Lease("", float("inf")), version=-1, words_version=-1)
"""What a driver that waits keeps: it looks at nothing but its lease, and at nothing then."""

TOUCHES = "record hosts cloud drivers left"
"""What a driver's step reads or changes."""


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
    wanted = physics.wanted(record)
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
    return Step(label, "", effect(TOUCHES, _reply, scope, world, driver))


def _reply(scope: Scope, world: World, driver: Driver) -> World:
    asked = request(scope.cluster, driver)
    world, reply = _answer(world, driver, asked)
    return told(scope, world, driver, reply)


def _answer(world: World, driver: Driver, asked: Any) -> tuple[World, Reply]:
    if isinstance(asked, Load):
        return world, world.record
    if isinstance(asked, Persist):
        return store.persist(world, asked.record, driver.holder)
    if isinstance(asked, GiveUp):
        return store.give_up(world, asked.record, driver.holder)
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
    if isinstance(asked, Wait):  # the clock is all it touches: it sleeps at once
        return world.with_driver(replace(_ending(driver, asked), wakes_at=asked.until))
    if isinstance(asked, Take):
        world, taken = store.take(world, asked.record, driver.holder)
        return told(scope, world, driver, taken)
    if asked is True:
        driver = replace(driver, taken=True, replies=(), ends=None)
        return told(scope, world, driver, world.record)
    if isinstance(asked, Observe):
        return told(scope, world, driver, physics.observe(world, scope.cluster))
    if isinstance(asked, Load):
        return told(scope, world, driver, world.record)
    if isinstance(asked, Persist) and _commutes(world, reply):
        world, kept = store.persist(world, asked.record, driver.holder)
        return told(scope, world, driver, kept)
    return world.with_driver(_ending(driver, asked))


def _ending(driver: Driver, asked: Request | bool) -> Driver:
    """A driver whose turn is nearly over, without what it looked at before."""
    if isinstance(asked, Act):
        if not any(isinstance(reply, Observation) for reply in driver.replies):
            raise physics.Broken("S11", f"{driver.holder} acts, and has not looked since it acted")
        return replace(driver, ends=(asked.actions, None, asked.record), replies=())
    if isinstance(asked, Wait):
        return replace(driver, ends=((), asked.until, SLEEPS), replies=())
    if isinstance(asked, GiveUp):
        held = asked.record
        known = Record(held.cluster, version=held.version, words_version=held.words_version)
        return replace(driver, ends=((), None, known), replies=())
    return driver


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
    make = effect(TOUCHES, _acted, scope, world, driver, outcome)
    return Step(label, KINDS.get(outcome, ""), make)


def _acted(scope: Scope, world: World, driver: Driver, outcome: str) -> World:
    asked = request(scope.cluster, driver)
    if not isinstance(asked, Act):
        raise TypeError(f"{driver.holder} does not act: {asked}")
    action = asked.actions[len(driver.done)]
    if not _is_intended(asked, action):
        raise physics.Broken("S9", f"{action_text(action)} without a durable intent")
    if _thing(action) in {_thing(d.action) for d in driver.done if d.outcome is Outcome.UNKNOWN}:
        raise physics.Broken("S11", f"{action_text(action)} after a call whose outcome is unknown")
    lease = asked.record.lease
    if lease is None or lease.until - world.now < timing.CALL_SECONDS:
        outcome = "too late"
    world, done = _perform(scope, world, action, outcome)
    driver = replace(driver, done=(*driver.done, done))
    if len(driver.done) < len(asked.actions):
        return world.with_driver(driver)
    return told(scope, world, driver, driver.done)


def _thing(action: Any) -> tuple[Any, ...]:
    """What an action is done to."""
    if isinstance(action, Send):
        return action.command.node, action.command.verb
    return (getattr(action, "volume", "") or getattr(action, "addresses", action.node),)


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
    how = " by force" if isinstance(action, Detach) and action.force else ""
    return f"{name} {thing} {action.node}{how}".replace("  ", " ")
