"""The publisher's main loop: hears keepalived, says words, beats.

Three threads. `ears` only reads the FIFO; this one decides what to say and makes it durable; the
`sender` publishes. So neither a hung disk nor a hung network stops the FIFO from being read.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import time
from queue import Empty, SimpleQueue
from typing import Any, Dict, List, Optional

from node_hook import agent, clock, hold, keepalived, voice, word
from node_hook.config import Config
from node_hook.ears import Ears, Event, Gone, Heard, Stop, Woken
from node_hook.keepalived import Process
from node_hook.sender import Progress, Sender
from node_hook.spool import Entry, Spool
from node_hook.voice import Say, Standing, Voice

FINISH_SECONDS = 5.0
"""For the last words at a stop. The unit's TimeoutStopSec is longer."""

LOOK_SECONDS = 1.0
"""How often to look for a keepalived that is not known to run, and at the SSM agent."""

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
        self.agent = agent.Agent(self.paths.proc)
        self.agent_up = self.agent.is_up()
        self.agent_since = time.monotonic()
        self.process: Optional[Process] = None
        self.orphaned = False
        self.voice = Voice(config.vrrp_instance, Standing("STOP", 0, time.time()))
        self.unsure = False
        """Whether keepalived must be asked as soon as there is nothing left to hear."""
        self.clock_ahead = False
        self.last: Optional[Entry] = None
        self.news = True
        self.shown: Optional[Progress] = None
        self.strange: Dict[str, int] = {}

    def run(self) -> None:
        """Publish until told to stop."""
        self._begin()
        look, beat = time.monotonic(), self._next_beat()
        stopping = False
        while not stopping:
            now = time.monotonic()
            seconds = 0.0 if self.unsure else min(beat, look) - now
            event = self._next(min(seconds, SHOW_SECONDS) if self.news else seconds)
            if event is not None:
                stopping = self._hear(event)
                continue
            now = time.monotonic()
            self._show()
            self._verify()
            if now >= look:
                look = now + (ORPHAN_SECONDS if self.orphaned else LOOK_SECONDS)
                self._look()
            if now >= beat:
                beat = self._next_beat()
                self._say(self.voice.again("heartbeat"))
                self.unsure = True
        self._end()

    # ------------------------------------------------------------------------ begin and end

    def _begin(self) -> None:
        if self.ears.stale:
            log.info("discarded %d bytes that were in the FIFO from before", self.ears.stale)
        self.ears.start()
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
            log.warning(
                "the last word is dated %.0f s ahead of this clock, which was or is wrong: words "
                "go on from there, and are alarmed until the clock has caught up", ahead
            )

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
            return self.events.get(timeout=max(0.0, seconds))
        except Empty:
            return None

    def _hear(self, event: Event) -> bool:
        """Deal with one event; True if it says to stop."""
        if isinstance(event, Heard):
            self._line(event)
        elif isinstance(event, Woken):
            self._overhear()
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
        if any(found["kind"] == "transition" for found in words):
            self._adopt(words[-1])
        elif any(found["state"] not in (self.voice.standing.state, "STOP") for found in words):
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
        """Look at what tells nothing by itself: keepalived's life and the SSM agent's."""
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
        self._look_at_agent()

    def _find(self) -> None:
        if self.process is not None and keepalived.is_alive(self.paths, self.process):
            return
        self.process = keepalived.find(self.paths)
        if self.process is not None:
            self.orphaned = False
            self.ears.watch(self.process)

    def _look_at_agent(self) -> None:
        up = self.agent.is_up()
        if up != self.agent_up:
            self.agent_up, self.agent_since = up, time.monotonic()
            log.warning("the SSM agent is %s", "up again" if up else "down: commands cannot come")
            self._say(self.voice.again("transition"))
        self._hold()

    def _hold(self) -> None:
        """A node that serves nothing and cannot be commanded could not take over: be in FAULT."""
        down_for = time.monotonic() - self.agent_since
        try:
            if self.agent_up:
                hold.clear(self.paths.hold, "agent")
            elif down_for > agent.HOLD_AFTER_SECONDS:
                if word.around(self.config, False).serving is None:
                    text = "the SSM agent is down, so this node could not take over"
                    if hold.put(self.paths.hold, "agent", text):
                        log.warning("keepalived is held in FAULT: %s", text)
        except OSError as error:
            log.error("%s cannot be written: %s", self.paths.hold, error)

    def _verify(self) -> None:
        """Ask keepalived: lines that it dropped because the FIFO was full are made up for.

        Not while there is something to hear: what waits may be newer than the answer.
        """
        if not self.unsure:
            return
        self._find()
        told = self.process and keepalived.ask(
            self.paths, self.process, self.config.vrrp_instance
        )
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
            entry = word.append(self.spool, self.config, self.agent_up, what, now)
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
        shown = {
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
        fresh = f"{self.paths.view}.new"
        try:
            with open(fresh, "w", encoding="utf-8") as file:
                json.dump(shown, file, indent=1)
            os.replace(fresh, self.paths.view)
        except OSError as error:
            log.error("%s cannot be written: %s", self.paths.view, error)


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


def reasons_to_stop(events: "SimpleQueue[Event]") -> List[Any]:
    """Signal handlers that end the loop in order."""
    import signal

    def tell(number: int, frame: Any) -> None:
        events.put(Stop())

    return [signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)]
