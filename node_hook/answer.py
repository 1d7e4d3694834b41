"""The word that comes with the node script's answer to a command, from the publisher's sequence."""

from __future__ import annotations

import json
import time
from typing import Any, Dict

from node_hook import files, keepalived, word
from node_hook.config import Config
from node_hook.spool import Spool
from node_hook.voice import Say, Standing


def answer(config: Config, kind: str = "answer", reason: str = "") -> Dict[str, Any]:
    """Say what holds now, durably, and return it; the publisher sends it as well.

    Call it last, when the epoch file and the mounts are as the answer says. A word that cannot be
    made durable (a broken disk) is returned all the same, for it still travels with the answer.
    """
    seen = _seen(config)
    agent = bool(seen.get("agent", True))
    what = Say(kind, _standing(config, seen, reason))
    entry = word.say(Spool(config.paths.spool), config, agent, what, time.time())
    found: Dict[str, Any] = json.loads(entry.text)
    return found


def _standing(config: Config, seen: Dict[str, Any], reason: str) -> Standing:
    """keepalived's own word; what the publisher said last if it cannot be asked."""
    now = time.time()
    process = keepalived.find(config.paths)
    if process is None:
        return Standing("STOP", 0, now, reason or "keepalived does not run")
    told = keepalived.ask(config.paths, process, config.vrrp_instance)
    if told is not None:
        return Standing(told.state, told.priority, told.since, reason)
    since = seen.get("since", now * 1000) / 1000
    return Standing(seen.get("state", "BACKUP"), seen.get("priority", 0), since, reason)


def _seen(config: Config) -> Dict[str, Any]:
    """The publisher's last word, from state.json."""
    try:
        return json.loads(files.read(config.paths.view) or "{}").get("word") or {}
    except (ValueError, AttributeError):
        return {}
