"""What somebody can do right now, without any fault and without time passing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chalicelib.model import Attached, Power, Word
from tests.simulation import physics, store
from tests.simulation.drivers import drive, spawn
from tests.simulation.effects import effect
from tests.simulation.pool import intern
from tests.simulation.scope import Scope, Step, has_devices
from tests.simulation.world import At, Mail, World


def instant(scope: Scope, world: World, words: tuple[Word, ...] | None = None) -> Iterator[Step]:
    """What somebody can do right now, without any fault. `words`: those that may arrive; all, if None."""
    for driver in world.drivers:
        if driver.is_awake:
            yield drive(scope, world, driver)
    for word in dict.fromkeys(world.bus if words is None else words):
        yield arrival(scope, world, word)
    for mail in world.cloud.mail:
        host = world.host(mail.command.node)
        if host.runs and host.agent:
            yield Step(told_to(mail), "", effect("hosts cloud bus", physics.deliver, world, mail))
    for host in world.hosts:
        if host.acquiring and host.runs and has_devices(scope, world, host.name):
            yield Step(f"{host.name} mounts", "", effect("hosts cloud bus", physics.mount, world, host))
    yield from _ec2(world)


def arrival(scope: Scope, world: World, word: Word) -> Step:
    """A word under way reaches the record."""
    label = f"{word.node} {word.state.value} reaches Baton"
    return Step(label, "", effect("record drivers bus", _arrives, scope, world, word))


def told_to(mail: Mail) -> str:
    command = mail.command
    word = " --unless-master" if command.unless_master else ""
    return f"{command.node}'s agent runs {command.verb.value} {command.epoch}{word}"


def without(world: World, word: Word) -> World:
    bus = list(world.bus)
    bus.remove(word)
    return world.with_(bus=tuple(bus))


def _arrives(scope: Scope, world: World, word: Word) -> World:
    return arrive(scope, without(world, word), word)


def _attachments(world: World, attachments: tuple[At, ...]) -> World:
    return world.with_(cloud=replace(world.cloud, attachments=attachments))


def arrive(scope: Scope, world: World, word: Word) -> World:
    accepted = store.accept(world, word)
    return spawn(scope, accepted) if accepted is not world else world


def _ec2(world: World) -> Iterator[Step]:
    """What EC2 has begun comes to its end."""
    cloud = world.cloud
    for at in cloud.attachments:
        others = tuple(a for a in cloud.attachments if a != at)
        if at.state is Attached.ATTACHING:
            here = tuple(sorted((*others, at._replace(state=Attached.ATTACHED))))
            label = f"{at.volume} is attached to {at.node}"
            yield Step(label, "", effect("cloud", _attachments, world, intern(here)))
        if at.state is not Attached.DETACHING:
            continue
        host = world.host(at.node)
        if not host.mounted or host.power.is_off:
            label = f"{at.volume} is off {at.node}"
            yield Step(label, "", effect("cloud", _attachments, world, intern(others)))
    for host in world.hosts:
        if host.power is Power.STOPPING and not cloud.sticks:
            yield Step(f"{host.name} is stopped", "", effect("hosts", physics.power_off, world, host))
