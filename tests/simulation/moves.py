"""Every move that a world can make: the next step of anybody, and each fault that is left. Pure.

Within one instant all orders are explored; time passes only when nobody can move, to the next
moment at which something is due. A *slow* fault lets time pass although somebody could move: that is
a message held up, a driver frozen past its lease, a device that takes its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chalicelib.model import Record, Vrrp
from tests.simulation import faults, passing, physics, store
from tests.simulation.drivers import spawn, tidy
from tests.simulation.instant import instant
from tests.simulation.pool import keep
from tests.simulation.scope import SWEEP_SECONDS, Scope, Step, is_done
from tests.simulation.world import START, Cloud, Host, Left, World


def begin(scope: Scope) -> World:
    """The first world of a scope."""
    keep(scope)
    hosts = []
    for index, name in enumerate(scope.nodes):
        beat = START + 15 + index / 10
        hosts.append(Host(name, priority=254 - index, next_beat=beat))
    world = World(
        START,
        Record("c"),
        tuple(hosts),
        Cloud(),
        (),
        (),
        0,
        scope.left,
        START + SWEEP_SECONDS,
    )
    world = world.with_(**world._asdict())
    for name in scope.nodes:
        state = Vrrp.MASTER if scope.adopted and name == scope.nodes[0] else Vrrp.BACKUP
        world = world.with_host(replace(world.host(name), vrrp=state))
        world, word = physics.say(world, world.host(name))
        world = store.accept(world, word)
    return _settled(scope, world) if scope.adopted else world


def _settled(scope: Scope, world: World) -> World:
    """The world after an adoption without faults, before anybody paused it."""
    settings = tuple(pair for pair in scope.settings if pair[0] != "paused")
    scope = keep(replace(scope, settings=settings, script=""))
    calm = world.with_(left=Left())
    calm = spawn(scope, calm)
    for _ in range(500):
        steps = [s for s in moves(scope, calm) if not s.kind]
        if not steps or is_done(scope, calm, scripted=False):
            return tidy(calm.with_(left=scope.left))
        calm = steps[0].world
    raise RuntimeError("the adoption does not settle")


def moves(scope: Scope, world: World) -> Iterator[Step]:
    """All moves from here. Where nobody can move, time passes."""
    now = list(instant(scope, world))
    yield from now
    yield from passing.script(scope, world, quiet=not now)
    if not now:
        if not passing.script_waits(scope, world) and not (scope.rests and is_done(scope, world)):
            yield from passing.later(scope, world, "")
    elif world.left.slow:
        yield from passing.later(scope, faults.spend(world, "slow"), "slow")
    yield from faults.faults(scope, world)
