#!/usr/bin/env python3
"""Publish this node's words: keepalived's transitions, durable, in order, never lost.

    publish.py                                   the daemon: holds keepalived's FIFO
    publish.py notify INSTANCE "VI" MASTER 150   a plain keepalived notify hook

The daemon is the publisher in both cases. The hook is for those who cannot name a FIFO in their
keepalived.conf: it appends to the same spool, wakes the daemon, and is done.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import types
from typing import List

if "node_hook" not in sys.modules:
    # Run as a script, from wherever it is installed: its siblings are the package.
    _package = types.ModuleType("node_hook")
    _package.__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.modules["node_hook"] = _package

from node_hook import agent, keepalived, word
from node_hook.config import Config, ConfigError, load
from node_hook.spool import Spool
from node_hook.voice import Standing, Voice

USAGE, CONFIGURATION, TWICE = 2, 4, 1
"""Exit codes."""

log = logging.getLogger("baton")


def main(arguments: List[str]) -> int:
    """Run the daemon, or the notify hook."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    if arguments and (arguments[0] != "notify" or len(arguments) != 5):
        sys.stderr.write((__doc__ or "") + "\n")
        return USAGE
    try:
        config = load()
    except ConfigError as error:
        log.error("%s", error)
        return CONFIGURATION
    return notify(config, arguments[1:]) if arguments else serve(config)


def serve(config: Config) -> int:
    """The daemon, until SIGTERM."""
    from node_hook import daemon

    alone = daemon.only_one(config.paths.run)
    if alone is None:
        log.error("another publisher runs here, and there must be one only")
        return TWICE
    running = daemon.Daemon(config)
    daemon.reasons_to_stop(running.events)
    running.run()
    return 0


def notify(config: Config, arguments: List[str]) -> int:
    """Append the word that keepalived's arguments tell: type, name, state, priority."""
    kind, name, state, priority = arguments
    line = keepalived.parse(f'{kind} "{name}" {state} {priority}')
    now = time.time()
    voice = Voice(config.vrrp_instance, Standing("", 0, now))
    said = voice.line(line, now) if line else None
    if said is None:
        log.info("nothing to say about %s", " ".join(arguments))
        return 0
    up = agent.Agent(config.paths.proc).is_up()
    entry = word.say(Spool(config.paths.spool), config, up, said, now)
    if entry.trouble:
        log.error("this word is lost, for the spool cannot be written: %s", entry.trouble)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
