#!/usr/bin/env python3
"""Publish this node's words: keepalived's transitions, durable, in order, never lost.

    publish.py                                   the daemon: holds keepalived's FIFO
    publish.py notify INSTANCE "VI" MASTER 150   a plain keepalived notify hook

The daemon is the publisher in both cases. The hook is for those who cannot name a FIFO in their
keepalived.conf: it appends to the same spool, wakes the daemon, and is done.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import time
import types
from typing import List, Optional

if "node_hook" not in sys.modules:
    # Run as a script, from wherever it is installed: its siblings are the package.
    _package = types.ModuleType("node_hook")
    _package.__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.modules["node_hook"] = _package

from node_hook import agent, keepalived, word
from node_hook.config import Config, ConfigError, load
from node_hook.events import Stop
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

    alone = only_one(config.paths.run)
    if alone is None:
        log.error("another publisher runs here, and there must be one only")
        return TWICE
    # Three threads hand each word on: none should wait 5 ms, the default, for another to pause.
    sys.setswitchinterval(0.0005)
    running = daemon.Daemon(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        # The queue takes an entry in a signal handler, which most things do not.
        signal.signal(number, lambda *_: running.events.put(Stop()))
    running.run()
    return 0


def only_one(directory: str) -> Optional[int]:
    """A descriptor whose lock says that this is the publisher here; None if there is another."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(os.path.join(directory, "publisher.lock"), flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


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
