"""Values that are kept once: equal ones are the same object, so that comparing them costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")
PLAIN = (int, float, str, bool, type(None))
"""What is its own value: enumerations of strings among them."""

_ATOMS = frozenset(PLAIN)
_POOL: dict[Any, Any] = {}
_KNOWN: dict[int, int] = {}
"""The number of each value of the pool, by its identity."""

_FIRST = 2
"""The first number: True is 1, and must not be taken for a value's number."""

_CACHES: list[dict[Any, Any]] = []

_KEPT: dict[int, Any] = {}


def intern(value: T) -> T:
    """The one object that stands for this value: by structure, and parts already known by identity.

    Hashing a record anew costs more than all that is done to it; here only what changed is hashed.
    Its parts are such objects too, so that the next value made from it has little that is new.
    """
    if id(value) in _KNOWN or isinstance(value, PLAIN):
        return value
    kind: Any = type(value)
    parts = tuple([p if type(p) in _ATOMS or id(p) in _KNOWN else intern(p) for p in _parts(kind)(value)])
    key = (kind, *[p if type(p) in _ATOMS else _KNOWN.get(id(p), p) for p in parts])
    found: Any = _POOL.get(key)
    if found is None:
        found = _POOL[key] = parts if kind is tuple else kind(*parts)
        _KNOWN[id(found)] = len(_KNOWN) + _FIRST
    kept: T = found
    return kept


@lru_cache
def _parts(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    """What takes a value apart, in the order in which its class is given the parts."""
    if issubclass(kind, tuple):
        return tuple
    names = [f.name for f in fields(kind)]
    if len(names) == 1:
        return lambda value: (getattr(value, names[0]),)
    return attrgetter(*names)


def keep(value: T) -> T:
    """The value itself, which lives as long as the pool from now on: so nothing else gets its identity."""
    _KEPT[id(value)] = value
    return value


def is_kept(value: Any) -> bool:
    """Whether its identity stands for this value, and for no other, as long as the pool lives."""
    return isinstance(value, PLAIN) or id(value) in _KNOWN or id(value) in _KEPT


def numbers(values: tuple[Any, ...]) -> Iterator[int]:
    """The numbers of interned values: equal values have equal ones."""
    return map(_KNOWN.__getitem__, map(id, values))


def cache() -> dict[Any, Any]:
    """A place for what is known of values by their identity: emptied when they are forgotten."""
    place: dict[Any, Any] = {}
    _CACHES.append(place)
    return place


def remember(place: dict[Any, Any], key: Any, value: Any, *, most: int) -> None:
    """Keep something in a cache that can be found out again; when there is too much, all goes."""
    if len(place) >= most:
        place.clear()
    place[key] = value


def forget() -> None:
    """Empty the pools: values from before must not be used with values from after."""
    for place in (_POOL, _KNOWN, _KEPT, *_CACHES):
        place.clear()
