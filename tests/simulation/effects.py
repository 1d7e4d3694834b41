"""What a move does, remembered by the parts of the world that it touches.

Most states differ from others in parts that a move neither reads nor changes; there it does what it
did before. The other parts are hidden from it, so that one that looks at them raises an error: what
is remembered cannot be wrong for having missed something.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any, NoReturn

from tests.simulation.pool import PLAIN, cache, is_kept, remember
from tests.simulation.world import World

REMEMBERED_MOST = 2_000_000
"""About 1 GB."""

_REMEMBERED: dict[Any, tuple[Any, ...]] = cache()


class _Hidden:
    """A part that is not to be touched: whatever is done to it is an error."""

    __slots__ = ()

    def _touched(self, *_: object) -> NoReturn:
        raise TypeError("a move looks at a part of the world that it does not name")

    __bool__ = __iter__ = __len__ = __eq__ = __hash__ = __add__ = __lt__ = _touched


HIDDEN: Any = _Hidden()


def effect(reads: str, does: Callable[..., World], *given: Any) -> Callable[[], World]:
    """What `does` makes of the world that is among `given`, when asked.

    `reads` names the parts that it reads or changes, besides the time, which it may read. All
    that is given must be plain, interned, or kept.
    """
    return partial(_recall, reads, does, given)


def _recall(reads: str, does: Callable[..., World], given: tuple[Any, ...]) -> World:
    world = next(x for x in given if type(x) is World)
    indexes, parts_of = _footprint(reads)
    key = (
        does,
        world.now,
        *map(id, parts_of(world)),
        *[x if isinstance(x, PLAIN) else id(x) for x in given if type(x) is not World],
    )
    changed = _REMEMBERED.get(key)
    if changed is None:
        changed = parts_of(_done(indexes, does, given))
        remember(_REMEMBERED, key, changed, most=REMEMBERED_MOST)
    parts: list[Any] = list(world)
    for index, part in zip(indexes, changed, strict=True):
        parts[index] = part
    return World(*parts)


def _done(indexes: tuple[int, ...], does: Callable[..., World], given: tuple[Any, ...]) -> World:
    """The move made in a world of which it sees what it names."""
    if passing := [x for x in given if type(x) is not World and not is_kept(x)]:
        raise TypeError(f"{does.__name__} is remembered by values that are gone tomorrow: {passing}")
    seen = {0, *indexes}
    after = does(*[_masked(x, seen) if type(x) is World else x for x in given])
    if any(part is not HIDDEN for n, part in enumerate(after) if n not in seen):
        raise TypeError(f"{does.__name__} changes a part of the world that it does not name")
    return after


def _masked(world: World, seen: set[int]) -> World:
    parts: list[Any] = [part if n in seen else HIDDEN for n, part in enumerate(world)]
    return World(*parts)


@lru_cache
def _footprint(reads: str) -> tuple[tuple[int, ...], Callable[[World], tuple[Any, ...]]]:
    indexes = tuple(World._fields.index(name) for name in reads.split())
    if len(indexes) == 1:
        return indexes, lambda world: (world[indexes[0]],)
    return indexes, itemgetter(*indexes)
