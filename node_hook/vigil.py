#!/usr/bin/env python3
"""The vigil: while this node serves, its service is asked again and again whether it works.

A service can die on a node whose keepalived is well, and then nobody takes over. So the configured
health command runs every few seconds, only while an epoch is served here. After so many failures in
a row the node is held in FAULT (see hold.py); keepalived elects another, and the orchestrator takes
the resources away. Nothing is stopped or unmounted here. The hold is taken back when nothing is
served here any more and a while has passed, or when the service works again before that.

It also takes back the holds that other jobs put up for a limited time, should they have been killed.

A process of its own: a health command needs whatever rights it needs, and must never get in the
publisher's way.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import types
from dataclasses import dataclass, replace
from typing import Optional

if "node_hook" not in sys.modules:
    _package = types.ModuleType("node_hook")
    _package.__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.modules["node_hook"] = _package

from node_hook import children, epochs, hold, lift
from node_hook.config import Config, ConfigError, Health, load
from node_hook.paths import boot_id

REASON = "health"

COOL_SECONDS = 60.0
"""After the resources left: long enough for the other node to have settled, so that this one does
not stand for election again in the middle of the hand-over."""

IDLE_SECONDS = 1.0
"""How often to look whether an epoch is served."""

log = logging.getLogger("baton")


@dataclass(frozen=True)
class Watch:
    """What is known of the service: failures in a row, whether held, and since when idle."""

    epoch: int = 0
    failures: int = 0
    held: bool = False
    idle_since: Optional[float] = None


def judge(watch: Watch, serving: Optional[int], healthy: Optional[bool], health: Health, now: float) -> Watch:
    """The next state of the watch. `healthy` is None if the service was not asked. Pure."""
    if not serving:
        since = now if watch.idle_since is None else watch.idle_since
        return Watch(held=watch.held and now - since < COOL_SECONDS, idle_since=since)
    if serving != watch.epoch:
        # A new epoch was acquired here, which includes a service that works: begin anew.
        watch = Watch(epoch=serving, held=watch.held)
    if healthy is None:
        return replace(watch, idle_since=None)
    if healthy:
        return Watch(epoch=serving)
    failures = watch.failures + 1
    return Watch(epoch=serving, failures=failures, held=watch.held or failures >= health.failures)


def main() -> int:
    """Keep watch until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        config = load()
    except ConfigError as error:
        log.error("%s", error)
        return 4
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    keep(config)
    return 0


def keep(config: Config) -> None:
    """Watch for ever. Without a health command only the limited holds are looked after."""
    watch = Watch(held=REASON in hold.reasons(config.paths.hold))
    if config.health is None and watch.held:
        log.info("there is no health command any more: this node may be master again")
        hold.clear(config.paths.hold, REASON)
    while True:
        seconds = IDLE_SECONDS
        if config.health is not None:
            before, watch = watch, step(config, config.health, watch)
            _act(config, before, watch)
            every = config.health.every_seconds
            seconds = every if watch.epoch else min(IDLE_SECONDS, every)
        for reason in lift.expired(config.paths.hold):
            log.info("the hold %r was for a limited time, which is over", reason)
        time.sleep(seconds)


def step(config: Config, health: Health, watch: Watch) -> Watch:
    """Ask once, if an epoch is served."""
    serving = _serving(config)
    if not serving:
        return judge(watch, serving, None, health, time.monotonic())
    ended = children.run(list(health.command), time.time() + health.timeout_seconds)
    if ended.code != 0:
        what = "took too long" if ended.code is None else f"ended with {ended.code}"
        log.warning("the health command %s: %s", what, ended.last_line)
    if _serving(config) != serving:
        # Released while it was asked: a service that is being stopped is no failure.
        return judge(watch, serving, None, health, time.monotonic())
    return judge(watch, serving, ended.code == 0, health, time.monotonic())


def _act(config: Config, before: Watch, after: Watch) -> None:
    try:
        if after.held and not before.held:
            text = f"the health command failed {after.failures} times in a row"
            log.error("%s: this node gives up mastership", text)
            hold.put(config.paths.hold, REASON, text)
        elif before.held and not after.held:
            log.info("this node may be master again")
            hold.clear(config.paths.hold, REASON)
    except OSError as error:
        log.error("%s cannot be written: %s", config.paths.hold, error)


def _serving(config: Config) -> Optional[int]:
    try:
        return epochs.Epochs(config.paths, boot_id(config.paths)).read().serving
    except epochs.StateError as error:
        log.error("%s", error)
        return None


if __name__ == "__main__":
    sys.exit(main())
