"""The moves that suffice: of orders that lead to the same worlds, one is explored.

While the lease is held, and every driver but one sleeps, and time passes only when nobody can move:

* Nobody awake: nobody looks at the record or at EC2 before time passes. A word that reaches the
  record changes nothing that another move reads; so words arrive first, in any order, since the
  newest of a node counts. And a driver's death changes nothing; so it comes last.
* One awake, with calls to make before it looks again: a word may as well arrive after them. And a
  command that is put into SSM's mail meets nothing of what others do; so it goes at once.

And whatever can happen in a world can happen in one that is equal but has more faults left.

Not done where two orders differ on the way: who unmounts first is what S1 is about. A test compares
what is found with what is found without all this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

from chalicelib.model import Send
from chalicelib.reconcile import Act
from tests.simulation.drivers import drive
from tests.simulation.faults import faults, on_driver, on_word
from tests.simulation.instant import arrival, instant
from tests.simulation.moves import moves
from tests.simulation.passing import script
from tests.simulation.scope import Scope, Step
from tests.simulation.world import Driver, Left, World, request


def fewer(scope: Scope, world: World) -> Iterator[Step]:
    """Moves from here that lead to all there is to be found."""
    lease = world.record.lease
    awake = [driver for driver in world.drivers if driver.is_awake]
    if world.left.slow or lease is None or lease.until <= world.now or len(awake) > 1:
        yield from moves(scope, world)
    elif awake:
        yield from _with_one(scope, world, awake[0])
    else:
        yield from _with_none(scope, world)


def _with_none(scope: Scope, world: World) -> Iterator[Step]:
    if world.bus:
        yield arrival(scope, world, world.bus[0])
        yield from on_word(scope, world, world.bus[0])
        return
    is_quiet = next(instant(scope, world), None) is None
    yield from (s for s in moves(scope, world) if is_quiet or s.kind != "death")


def _with_one(scope: Scope, world: World, driver: Driver) -> Iterator[Step]:
    asked = request(scope.cluster, driver)
    if not isinstance(asked, Act) or _looks_next(world, driver, asked):
        yield from moves(scope, world)
    elif isinstance(asked.actions[len(driver.done)], Send):
        yield drive(scope, world, driver)
        yield from on_driver(scope, world, driver)
    else:
        yield from instant(scope, world, words=())
        yield from script(scope, world, quiet=False)
        yield from faults(scope, world, words=())


def _looks_next(world: World, driver: Driver, asked: Act) -> bool:
    """Whether the driver's next move includes a look at the record and at EC2 (see `told`)."""
    return len(driver.done) == len(asked.actions) - 1 and not world.left.deaths


class Budgets:
    """Which budgets of faults include which."""

    def __init__(self) -> None:
        self._seen: dict[Left, bytes] = {}
        self._above: dict[Left, list[bytes]] = {}

    def above(self, left: Left, mark: bytes) -> list[bytes]:
        """The marks of all budgets met so far that allow whatever this one allows, and more."""
        if left not in self._above:
            self._seen[left] = mark
            self._above = {one: self._including(one) for one in self._seen}
        return self._above[left]

    def _including(self, left: Left) -> list[bytes]:
        return [
            mark
            for other, mark in self._seen.items()
            if other != left and all(a >= b for a, b in zip(astuple(other), astuple(left), strict=True))
        ]
