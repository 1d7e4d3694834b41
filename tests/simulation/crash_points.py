"""The driver is killed before or after any of its I/O: the sweep alone settles each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalicelib import timing
from tests.simulation import physics
from tests.simulation.drivers import tidy
from tests.simulation.moves import begin, moves
from tests.simulation.pool import forget
from tests.simulation.scope import Scope, is_done
from tests.simulation.world import World

STEPS_MOST = 3_000
"""Moves of one hand-over, with all its heartbeats: more means that somebody runs in circles."""

SCENARIOS = (
    Scope("planned", "a STOP"),
    Scope("crash", "a off"),
    Scope("hang", "a hangs"),
    Scope("reboot", "a shuts-down"),
    Scope("contested", "b MASTER ; ~ a BACKUP", elects=False),
    Scope("contested, refused", "b MASTER ; ~ b BACKUP", elects=False),
)


@dataclass(frozen=True)
class Survived:
    """A hand-over whose driver was killed: after how many moves of its own, and whether it was."""

    killed: bool
    steps: int


def survive(scope: Scope, kill_after: int) -> Survived:
    """Play a scenario, kill whoever drives after so many moves of drivers, and let the sweep do.

    Raises Broken if a guarantee breaks or it does not settle. A move of a driver is one I/O: killed
    after the k-th is killed before the next one, so that every k covers both.
    """
    forget()
    world = begin(scope)
    moved, killed = 0, False
    for step in range(STEPS_MOST):
        if is_done(scope, world):
            return Survived(killed, step)
        if not killed and moved == kill_after and world.drivers:
            world, killed = _kill(world), True
            continue
        chosen = next(s for s in moves(scope, world) if not s.kind)
        moved += any(chosen.label.startswith(f"{d.holder} ") for d in world.drivers)
        world = chosen.world
        physics.check(world)
    raise physics.Broken("L3", f"{scope.name}: killed after {kill_after} moves, never settled")


def _kill(world: World) -> World:
    """Nobody drives any more; words under way are lost, and no heartbeat comes before the sweep."""
    world = tidy(world.with_(drivers=(), bus=()))
    for host in world.hosts:
        late = max(host.next_beat, world.sweep_at + timing.LEASE_SECONDS + 60)
        world = world.with_host(replace(host, next_beat=late))
    return world
