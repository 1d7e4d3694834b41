"""The word that goes with an answer: made durable in the spool, from which the publisher sends it."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, Optional

from node_hook import agent, files, holders, keepalived, word
from node_hook.config import Config
from node_hook.spool import Spool
from node_hook.voice import Say, Standing


def word_of(config: Config, reason: str = "", state: Optional[str] = None) -> Dict[str, Any]:
    """Say what holds now, durably, and return it.

    Call it last, when the epoch file and the mounts are as the answer says. A word that cannot be
    made durable (a broken disk) is returned all the same, for it still travels with the answer.
    `state` is told instead of keepalived's by a node that goes down, and is true in a moment.
    """
    now = time.time()
    standing = Standing(state, config.priority, now, reason) if state else _standing(config, reason, now)
    entry = word.say(Spool(config.paths.spool), config, _agent_is_up(config), Say("answer", standing), now)
    found: Dict[str, Any] = json.loads(entry.text)
    return found


def _standing(config: Config, reason: str, now: float) -> Standing:
    """keepalived's own word; what the publisher heard last if it runs but cannot be asked."""
    process = keepalived.find(config.paths)
    if process is None:
        return Standing("STOP", 0, now, reason or "keepalived does not run")
    told = keepalived.ask(config.paths, process, config.vrrp_instance)
    if told is not None:
        return Standing(told.state, told.priority, told.since, reason)
    try:
        seen = json.loads(files.read(config.paths.view) or "")
        return Standing(seen["state"], int(seen["priority"]), float(seen["since"]), reason)
    except (ValueError, KeyError, TypeError):
        # Claiming nothing is the safe guess; the publisher corrects it.
        return Standing("BACKUP", 0, now, reason or "keepalived does not say in which state it is")


def _agent_is_up(config: Config) -> bool:
    """It runs us, most of the time; otherwise it is looked for."""
    proc = config.paths.proc
    names = (files.read(f"{proc}/{pid}/comm") or "" for pid in holders.parents(os.getpid(), proc))
    return any(n.startswith(("ssm-", "amazon-ssm")) for n in names) or agent.Agent(proc).is_up()
