"""The command line, read strictly: every value is matched against what it may be, or refused.

Not argparse, whose import costs as much as the rest of the start-up, and which takes abbreviations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ACTIONS = ("release", "acquire", "status", "handover", "prepare", "shutdown", "arrive", "reset")

EPOCH = r"[0-9]{1,11}"
_VALUES = {
    "cluster": r"[a-z][a-z0-9-]{0,62}",
    "epoch": EPOCH,
    "boot": r"[0-9a-zA-Z-]{0,64}",
    "volumes": r"(vol-[0-9a-f]{8,17}(,vol-[0-9a-f]{8,17}){0,39})?",
    "deadline": r"[0-9]{1,11}(\.[0-9]{1,9})?",
    "ready": r"(i-[0-9a-f]{8,17})?",
}
"""Options that take a value. The SSM documents hold the same patterns."""

_FLAGS = ("unless-master", "anyway", "partitioned")
_NEEDED = {
    "release": ("cluster", "epoch", "deadline"),
    "acquire": ("cluster", "epoch", "boot", "deadline"),
    "handover": ("cluster",),
    "prepare": ("cluster", "volumes"),
    "reset": ("cluster", "epoch"),
}


class BadArguments(Exception):
    """The command line cannot be understood; the text says which part."""


@dataclass(frozen=True)
class Given:
    """The command line, checked."""

    action: str
    cluster: str
    epoch: int = 0
    boot: str = ""
    volumes: "tuple[str, ...]" = ()
    deadline: float = 0.0
    unless_master: bool = False
    ready: str = ""
    anyway: bool = False
    partitioned: bool = False


def parse(argv: "list[str]") -> Given:
    """The command line's meaning. Raises BadArguments."""
    if not argv or argv[0] not in ACTIONS:
        raise BadArguments(f"name an action: {', '.join(ACTIONS)}")
    values, flags = _split(argv[1:])
    for name in _NEEDED.get(argv[0], ()):
        if not values.get(name):
            raise BadArguments(f"{argv[0]} needs --{name}")
    volumes = values.get("volumes", "")
    return Given(
        action=argv[0],
        cluster=values.get("cluster", ""),
        epoch=int(values.get("epoch") or 0),
        boot=values.get("boot", ""),
        volumes=tuple(volumes.split(",")) if volumes else (),
        deadline=float(values.get("deadline") or 0),
        unless_master="unless-master" in flags,
        ready=values.get("ready", ""),
        anyway="anyway" in flags,
        partitioned="partitioned" in flags,
    )


def _split(words: "list[str]") -> "tuple[dict[str, str], set[str]]":
    values: "dict[str, str]" = {}
    flags: "set[str]" = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word[2:].partition("=")
        if not word.startswith("--") or name not in (*_VALUES, *_FLAGS):
            raise BadArguments(f"unknown argument {word[:80]!r}")
        if name in _FLAGS and not equals:
            flags.add(name)
            continue
        if name in values or name in _FLAGS:
            raise BadArguments(f"--{name} is given twice, or with a value")
        if not equals:
            if not rest:
                raise BadArguments(f"--{name} needs a value")
            value = rest.pop(0)
        if not re.fullmatch(_VALUES[name], value):
            raise BadArguments(f"--{name} cannot be {value[:80]!r}")
        values[name] = value
    return values, flags
