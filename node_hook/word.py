"""The word: what this node says of itself, as the Detail of an event and in a command's answer.

A word is built from what holds at that moment, under the spool's lock, so that a higher sequence
never tells an older state: the epoch file and the mounts are read here each time.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Optional, Set

from node_hook import epochs
from node_hook.config import Config
from node_hook.duty import Memory
from node_hook.paths import boot_id
from node_hook.spool import Entry, Spool
from node_hook.voice import Say

VERSION = 1
SOFTWARE = "1"
KINDS = ("transition", "heartbeat", "answer", "start")
REASON_CHARACTERS = 300
"""A reason is a sentence for people; the event must stay small."""

WAKE = "wake"
"""A FIFO in Baton's directory under /run: a byte in it tells the publisher that a word was appended."""


class BadWord(ValueError):
    """A word that the orchestrator would not take: a defect of this software, never sent."""


@dataclass(frozen=True)
class Around:
    """What a word tells beside the VRRP state."""

    cluster: str
    node: Optional[str]
    boot: str
    config: str
    highest: int
    released: int
    serving: Optional[int]
    agent: bool


def around(config: Config, agent: bool) -> Around:
    """What holds now, read from the epoch file and the mount table."""
    boot = _boot(config)
    try:
        memory = epochs.Epochs(config.paths, boot).read()
    except epochs.StateError:
        # The node script tells people that the file is damaged, and refuses commands because of
        # it. The word must still be said: what is mounted shows in `serving` below.
        memory = Memory()
    return Around(
        cluster=config.cluster,
        node=config.node,
        boot=boot,
        config=config.digest,
        highest=memory.highest,
        released=memory.released,
        serving=serving(
            memory,
            [volume.mount for volume in config.volumes],
            mounted(config) if config.volumes else set(),
        ),
        agent=agent,
    )


def serving(memory: Memory, wanted: Iterable[str], found: Set[str]) -> Optional[int]:
    """The epoch served: that of the memory if all is mounted, 0 if mounts are unaccounted for."""
    present = [mount in found for mount in wanted]
    if not present or all(present):
        return memory.serving if memory.serving or not present else 0
    return 0 if any(present) else None


def mounted(config: Config) -> Set[str]:
    """Every mount point of this mount namespace."""
    with open(f"{config.paths.proc}/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return {_plain(line.split()[4]) for line in file if line.strip()}


def detail(sequence: int, say: Say, there: Around) -> Dict[str, Any]:
    """The word as a JSON object. Raises BadWord if it is not one that may be sent."""
    standing = say.standing
    found: Dict[str, Any] = {
        "version": VERSION,
        "cluster": there.cluster,
        "sequence": sequence,
        "state": standing.state,
        "priority": standing.priority,
        "boot": there.boot,
        "highest": there.highest,
        "released": there.released,
        "serving": there.serving,
        "agent": there.agent,
        "kind": say.kind,
        "since": int(standing.since * 1000),
        "config": there.config,
        "software": SOFTWARE,
    }
    if there.node:
        found["node"] = there.node
    if standing.reason:
        found["reason"] = standing.reason[:REASON_CHARACTERS]
    check(found)
    return found


def check(found: Dict[str, Any]) -> None:
    """Raise BadWord unless this is a word: every field there, of its type, within its bounds."""
    rules = {
        "version": found.get("version") == VERSION,
        "cluster": _text(found.get("cluster"), "[a-z][a-z0-9-]{0,62}"),
        "node": "node" not in found or _text(found["node"], "i-[0-9a-f]{8,17}"),
        "state": found.get("state") in ("MASTER", "BACKUP", "FAULT", "STOP"),
        "kind": found.get("kind") in KINDS,
        "boot": _text(found.get("boot"), "[0-9a-zA-Z-]{1,64}"),
        "config": _text(found.get("config"), "([0-9a-f]{64})?"),
        "software": isinstance(found.get("software"), str),
        "agent": isinstance(found.get("agent"), bool),
        "sequence": _number(found.get("sequence"), 1),
        "since": _number(found.get("since"), 0),
        "priority": _number(found.get("priority"), 0) and found["priority"] <= 255,
        "highest": _number(found.get("highest"), 0),
        "released": _number(found.get("released"), 0),
        "serving": found.get("serving", "") is None or _number(found.get("serving"), 0),
        "reason": isinstance(found.get("reason", ""), str),
    }
    bad = [name for name, holds in rules.items() if not holds]
    bad += sorted(set(found) - set(rules))
    if bad:
        values = {name: found.get(name) for name in bad}
        raise BadWord(f"this word may not be sent, because of {values}")


def say(spool: Spool, config: Config, agent: bool, what: Say, now: float) -> Entry:
    """Make a word durable and wake the publisher. The entry's text is the word's JSON."""
    entry = append(spool, config, agent, what, now)
    wake(config.paths.run)
    return entry


def append(spool: Spool, config: Config, agent: bool, what: Say, now: float) -> Entry:
    """Make a word durable, for the publisher itself, which need not be woken."""

    def build(sequence: int) -> str:
        return json.dumps(detail(sequence, what, around(config, agent)), separators=(",", ":"))

    return spool.append(now, build)


def wake(directory: str) -> None:
    """Tell the publisher that a word was appended. If none runs, the next one will find it."""
    try:
        descriptor = os.open(os.path.join(directory, WAKE), os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.write(descriptor, b"!")
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


_BOOTS: Dict[str, str] = {}
"""No process outlives its boot, so its id is read once."""


def _boot(config: Config) -> str:
    if config.paths.boot_id not in _BOOTS:
        _BOOTS[config.paths.boot_id] = boot_id(config.paths)
    return _BOOTS[config.paths.boot_id]


def _text(value: Any, pattern: str) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _number(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _plain(path: str) -> str:
    """A path of mountinfo without its octal escapes (a space is \\040)."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), path)
