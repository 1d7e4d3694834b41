"""Frozen values to plain JSON and back, strictly: what comes back is equal, or nothing does.

Dataclasses become objects without their defaults (so a field that gains a default later does not
change what is stored), enums their values, tuples lists. Where a type is a choice of dataclasses
(the mutation of an intent) the object names which one under `kind`. Decoding refuses what it does
not know: a record that was written by other code is not to be guessed at.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")
_KIND = "kind"


class Malformed(ValueError):
    """Stored data does not have the shape that this version of Baton writes."""


def to_plain(value: object) -> Any:
    """The value as JSON types. Raises TypeError for what JSON or this codec does not know."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object(value)
    raise TypeError(f"cannot store a {type(value).__name__}")


def from_plain(kind: type[T], plain: object) -> T:
    """The value of this type. Raises Malformed, naming the place, for anything else."""
    return cast(T, _decode(kind, plain, kind.__name__))


def _object(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    kinds = _choices(kind)
    plain: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        if item.default is not dataclasses.MISSING and content == item.default:
            continue
        plain[item.name] = to_plain(content)
        if item.name in kinds and isinstance(plain[item.name], dict):
            plain[item.name][_KIND] = type(content).__name__
    return plain


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@cache
def _choices(kind: Any) -> frozenset[str]:
    """Fields of this dataclass whose type is a choice of several dataclasses."""
    return frozenset(name for name, hint in _hints(kind).items() if len(_classes(hint)) > 1)


def _classes(hint: Any) -> list[Any]:
    return [h for h in _members(hint) if isinstance(h, type) and dataclasses.is_dataclass(h)]


def _members(hint: Any) -> tuple[Any, ...]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return typing.get_args(hint)
    return (hint,)


def _decode(hint: Any, plain: object, where: str) -> object:
    members = _members(hint)
    if len(members) > 1:
        return _decode_choice(members, plain, where)
    if typing.get_origin(hint) is tuple:
        return _decode_tuple(typing.get_args(hint), plain, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decode_enum(hint, plain, where)
    if dataclasses.is_dataclass(hint):
        return _decode_object(cast(type, hint), plain, where)
    return _decode_scalar(hint, plain, where)


def _decode_choice(members: tuple[Any, ...], plain: object, where: str) -> object:
    if plain is None and type(None) in members:
        return None
    others = [member for member in members if member is not type(None)]
    if len(others) == 1:
        return _decode(others[0], plain, where)
    if not isinstance(plain, dict):
        raise Malformed(f"{where} is {plain!r}, not an object")
    rest = dict(plain)
    name = rest.pop(_KIND, None)
    for member in others:
        if member.__name__ == name:
            return _decode(member, rest, where)
    raise Malformed(f"{where}.{_KIND} is {name!r}, which this version does not know")


def _decode_tuple(parts: tuple[Any, ...], plain: object, where: str) -> tuple[object, ...]:
    if not isinstance(plain, list):
        raise Malformed(f"{where} is {plain!r}, not a list")
    if len(parts) == 2 and parts[1] is Ellipsis:
        parts = (parts[0],) * len(plain)
    if len(parts) != len(plain):
        raise Malformed(f"{where} has {len(plain)} items, not {len(parts)}")
    return tuple(
        _decode(part, item, f"{where}[{i}]") for i, (part, item) in enumerate(zip(parts, plain, strict=True))
    )


def _decode_enum(hint: type[Enum], plain: object, where: str) -> Enum:
    try:
        return hint(plain)
    except ValueError:
        raise Malformed(f"{where} is {plain!r}, which this version does not know") from None


def _decode_object(hint: type, plain: object, where: str) -> object:
    if not isinstance(plain, dict):
        raise Malformed(f"{where} is {plain!r}, not an object")
    hints = _hints(hint)
    unknown = sorted(str(name) for name in plain if name not in hints)
    if unknown:
        raise Malformed(f"{where} has fields that this version does not know: {', '.join(unknown)}")
    values = {k: _decode(hints[k], v, f"{where}.{k}") for k, v in plain.items()}
    try:
        return hint(**values)
    except TypeError as error:
        raise Malformed(f"{where} lacks a field: {error}") from None


def _decode_scalar(hint: Any, plain: object, where: str) -> object:
    if hint is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if type(plain) is not hint:
        raise Malformed(f"{where} is {plain!r}, not of type {getattr(hint, '__name__', hint)}")
    return plain
