"""The publisher's main loop: hears keepalived, says words, beats.

`ears` only reads the FIFO, `agent` watches the SSM agent, and the `sender` publishes, each in a
thread of its own; this one decides what to say and makes it durable. So neither a hung disk nor a
hung network stops the FIFO from being read, and a hung systemctl stops nothing.
"""

from __future__ import annotations

import json
import logging
import random
import time
from queue import Empty, SimpleQueue
from typing import Any, Dict, Optional

from node_hook import clock, hold, keepalived, voice, word
from node_hook.agent import AgentWatch
from node_hook.config import Config
from node_hook.ears import Ears
from node_hook.events import Agent, Event, Gone, Heard, Stop, Woken
from node_hook.keepalived import Process
from node_hook.sender import Progress, Sender
from node_hook.spool import Entry, Spool
from node_hook.view import View
from node_hook.voice import Say, Standing, Voice

FINISH_SECONDS = 5.0
"""For the last words at a stop. The unit's TimeoutStopSec is longer."""

LOOK_SECONDS = 1.0
"""How often to look for a keepalived that is not known to run."""

SHOW_SECONDS = 0.02
"""After a word, state.json waits for so long a pause: publishing comes first."""

ORPHAN_SECONDS = 0.1
"""keepalived's children outlive a killed parent for a moment, and stop in order: look again."""

log = logging.getLogger("baton")


class Daemon:
    """One node's publisher."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.paths = config.paths
        self.spool = Spool(self.paths.spool)
        self.events: "SimpleQueue[Event]" = SimpleQueue()
        self.ears = Ears(self.paths, self.events)
        self.sender = Sender(config, self.spool)
        self.agent = AgentWatch(config, self.events)
        self.process: Optional[Process] = None
        self.orphaned = False
        self.voice = Voice(config.vrrp_instance, Standing("STOP", 0, time.time()))
        self.unsure = False
        """Whether keepalived must be asked as soon as there is nothing left to hear."""
        self.clock_ahead = False
        self.view = View(self.paths.view)
        self.last: Optional[Entry] = None
        self.news = True
        self.shown: Optional[Progress] = None
        self.strange: Dict[str, int] = {}
        self.look_at = time.monotonic()
        self.beat_at = self._next_beat()

    def run(self) -> None:
        """Publish until told to stop."""
        self._begin()
        stopping = False
        while not stopping:
            event = self._next(self._pause())
            if event is not None:
                stopping = self._hear(event)
            else:
                self._show()
                self._verify()
            self._keep_time()
        self._end()

    def _pause(self) -> float:
        """Seconds until there is something to do, if nothing is heard before."""
        if self.unsure:
            return 0.0
        seconds = max(0.0, min(self.beat_at, self.look_at) - time.monotonic())
        return min(seconds, SHOW_SECONDS) if self.news else seconds

    def _keep_time(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now >= self.look_at:
            self.look_at = now + (ORPHAN_SECONDS if self.orphaned else LOOK_SECONDS)
            self._look()
        if now >= self.beat_at:
            self.beat_at = self._next_beat()
            self._say(self.voice.again("heartbeat"))
            self.unsure = True

    # ------------------------------------------------------------------------ begin and end

    def _begin(self) -> None:
        if self.ears.stale:
            log.info("discarded %d bytes that were in the FIFO from before", self.ears.stale)
        self.ears.start()
        self.agent.start()
        self._overhear(adopt=False)
        self.voice.standing = self._present()
        self._say(self.voice.again("start"))
        self.sender.start()

    def _present(self) -> Standing:
        """The state at the start, by keepalived's own word."""
        now = time.time()
        self._find()
        if self.process is None:
            return Standing("STOP", 0, now, "keepalived does not run")
        told = keepalived.ask(self.paths, self.process, self.config.vrrp_instance)
        if told is None:
            # It has only just started, or cannot be asked. Its next line corrects this; claiming
            # nothing is the safe guess.
            return Standing("BACKUP", 0, now, "keepalived runs but does not say in which state")
        return Standing(told.state, told.priority, told.since or now)

    def _look_at_clock(self, now: float) -> None:
        ahead = clock.ahead(self.spool.last(), now)
        if (ahead > clock.AHEAD_SECONDS) != self.clock_ahead:
            self.clock_ahead = not self.clock_ahead
            log.warning(clock.AHEAD_TEXT, ahead)

    def _end(self) -> None:
        """Say the last word, if keepalived took its leave or was killed, and publish it."""
        self._drain()
        self._look()
        if self.process is None and self.voice.standing.state != "STOP":
            self._say_if(self.voice.vanished("keepalived does not run", time.time()))
        self.news = True
        if not self.sender.finish(FINISH_SECONDS):
            log.warning("%d words stay in the spool for the next start", len(self.spool.pending()))
        self._show()

    # ------------------------------------------------------------------------------ events

    def _next(self, seconds: float) -> Optional[Event]:
        try:
            # Python 3.9 waits for ever if the time is over before it has begun to wait.
            return self.events.get(seconds > 0, max(SHOW_SECONDS, seconds))
        except Empty:
            return None

    def _hear(self, event: Event) -> bool:
        """Deal with one event; True if it says to stop."""
        if isinstance(event, Heard):
            self._line(event)
        elif isinstance(event, Woken):
            self._overhear()
        elif isinstance(event, Agent):
            self.agent.up = event.up
            log.warning("the SSM agent is %s", "up again" if event.up else "down")
            self._say(self.voice.again("transition"))
        elif isinstance(event, Gone) and event.process == self.process:
            self.process, self.orphaned = None, True
            self._look()
        return isinstance(event, Stop)

    def _drain(self) -> None:
        time.sleep(0.02)
        event = self._next(0)
        while event is not None:
            self._hear(event)
            event = self._next(0)

    def _line(self, heard: Heard) -> None:
        line = keepalived.parse(heard.text)
        if line is None:
            self._complain(heard.text)
            return
        if self.process is None:
            self._find()
        self._say_if(self.voice.line(line, heard.at))

    def _complain(self, text: str) -> None:
        """Log a line that is not understood; the same one again only now and then."""
        if len(self.strange) > 100:
            self.strange.clear()
        times = self.strange[text] = self.strange.get(text, 0) + 1
        if times & (times - 1) == 0:
            log.warning("ignored a line in the FIFO that keepalived does not write: %r", text[:200])

    def _overhear(self, adopt: bool = True) -> None:
        """Words that other processes appended: publish them; a notify hook's changes the state."""
        try:
            fresh = self.spool.refresh()
        except OSError as error:
            log.error("the spool %s cannot be read: %s", self.paths.spool, error)
            return
        self.sender.wake()
        words = [json.loads(entry.text) for entry in fresh] if adopt else []
        moves = [found for found in words if found["kind"] == "transition"]
        if moves:
            self._adopt(moves[-1])
        if words and words[-1]["state"] not in (self.voice.standing.state, "STOP"):
            # An answer told a state that had changed while it was written, and is now this node's
            # newest word. The present state has the last say. But STOP is said ahead of time by
            # the release at a shutdown, and is true in a moment.
            self._say(self.voice.again("transition"))

    def _adopt(self, found: Dict[str, Any]) -> None:
        """A notify hook's word. Hooks run at the same time, in any order: keepalived knows best."""
        self.voice.standing = Standing(
            found["state"], found["priority"], found["since"] / 1000, found.get("reason", "")
        )
        self.unsure = self.news = True

    # ------------------------------------------------------------------------------ looking

    def _look(self) -> None:
        """Look at what tells nothing by itself: whether keepalived lives, and the FIFO's place."""
        if self.ears.renew():
            log.warning("the FIFO %s had been replaced; listening to the new one", self.paths.fifo)
            self.unsure = True
        if self.process is not None and not keepalived.is_alive(self.paths, self.process):
            self.process, self.orphaned = None, True
        if self.process is None:
            self._find()
        if self.process is None and self.events.empty():
            self.orphaned = False
            self._say_if(self.voice.vanished("keepalived vanished without a word", time.time()))

    def _find(self) -> None:
        if self.process is not None and keepalived.is_alive(self.paths, self.process):
            return
        self.process = keepalived.find(self.paths)
        if self.process is not None:
            self.orphaned = False
            self.ears.watch(self.process)

    def _verify(self) -> None:
        """Ask keepalived: lines that it dropped because the FIFO was full are made up for.

        Not while there is something to hear: what waits may be newer than the answer.
        """
        if not self.unsure:
            return
        self._find()
        told = self.process and keepalived.ask(self.paths, self.process, self.config.vrrp_instance)
        if self.events.empty():
            self.unsure = False
            if told:
                self._say_if(self.voice.told(told, time.time()))

    def _next_beat(self) -> float:
        return voice.next_beat(time.monotonic(), self.config.heartbeat_seconds, random.random)

    # ------------------------------------------------------------------------------- saying

    def _say_if(self, what: Optional[Say]) -> None:
        if what is not None:
            self._say(what)

    def _say(self, what: Say) -> None:
        now = time.time()
        try:
            entry = word.append(self.spool, self.config, self.agent.up, what, now)
        except (word.BadWord, OSError) as error:
            # A defect, or a system without /proc: the next word may be well, and is awaited.
            log.error("a word could not be said: %s", error)
            return
        self.sender.wake()
        self._look_at_clock(now)
        if entry.trouble:
            log.error("the spool cannot be written (%s): words are kept in memory", entry.trouble)
        self.last, self.news = entry, True
        if what.kind != "heartbeat":
            log.info("said %s %s", what.standing.state, what.standing.reason)

    def _show(self) -> None:
        """Replace state.json, for people, if there is news: once nobody waits for anything else."""
        progress, standing = self.sender.progress, self.voice.standing
        if not self.news and progress is self.shown:
            return
        self.news, self.shown = False, progress
        self.view.show(
            {
                "state": standing.state,
                "priority": standing.priority,
                "since": standing.since,
                "reason": standing.reason,
                "word": json.loads(self.last.text) if self.last else None,
                "waiting": progress.pending,
                "acknowledged": progress.acknowledged,
                "trouble": progress.trouble,
                "held": hold.reasons(self.paths.hold),
                "keepalived": self.process.pid if self.process else None,
            }
        )
