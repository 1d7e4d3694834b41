"""The publishing thread: what is in the spool goes to EventBridge, in order, for as long as it takes.

Nothing waits for it. It takes up to ten words at a time, leaves out heartbeats that are overtaken,
and acknowledges in the spool what the bus took. After a failure it waits, longer each time and
never the same twice, and a new word ends the wait.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Callable, List, Optional, Set

from node_hook import bus, files
from node_hook.bus import Bus, Endpoint, Trouble
from node_hook.config import Config
from node_hook.imds import Imds, ImdsError
from node_hook.spool import Entry, Spool
from node_hook.wallet import Wallet

FIRST_SECONDS = 0.05
MOST_SECONDS = 20.0
"""Between two tries: at once after a lost connection, and three times a minute in a long outage."""

REPEAT_LOG_SECONDS = 300.0
"""A failure that lasts is logged when it begins, when it changes, and every five minutes."""

HOPELESS = frozenset({"MalformedDetail", "InvalidArgument", "ValidationException"})
"""Verdicts on a word itself, which no retry mends."""

log = logging.getLogger("baton")


@dataclass(frozen=True)
class Progress:
    """How publishing goes, for state.json."""

    pending: int = 0
    acknowledged: int = 0
    acknowledged_at: Optional[float] = None
    trouble: str = ""


class Sender:
    """Publishes a spool in a thread of its own."""

    def __init__(self, config: Config, spool: Spool) -> None:
        self._config = config
        self._spool = spool
        self._imds = Imds()
        self._wallet = Wallet(self._imds)
        self._endpoint_url = config.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        self._bus: Optional[Bus] = None
        self._source = ""
        self._taken: Set[int] = set()
        self._wake: "SimpleQueue[None]" = SimpleQueue()
        self._until: Optional[float] = None
        self._logged = ("", 0.0)
        self._skew = 0.0
        self.progress = Progress()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin; words that were left in the spool go first."""
        self._thread.start()

    def wake(self) -> None:
        """A word was appended."""
        self._wake.put(None)

    def finish(self, seconds: float) -> bool:
        """Publish what is left, within this many seconds; True if nothing is left."""
        self._until = time.monotonic() + seconds
        self._wake.put(None)
        self._thread.join(seconds + 1)
        return not self._spool.pending()

    def _run(self) -> None:
        failures = 0
        while self._until is None or time.monotonic() < self._until:
            batch = self._batch()
            if not batch:
                if self._until is not None:
                    return
                self._rest(None)
                continue
            try:
                if self._publish(batch):
                    failures = 0
                    self._note("")
                else:
                    failures += 1
            except Trouble as error:
                failures += 1
                self._note(str(error))
            if failures:
                self._rest(delay(failures, random.random))

    def _rest(self, seconds: Optional[float]) -> None:
        """Until a word is appended, or so long."""
        with contextlib.suppress(Empty):
            self._wake.get(timeout=seconds)
            while True:
                self._wake.get_nowait()

    def _batch(self) -> List[Entry]:
        waiting = [e for e in coalesce(self._spool.pending(), is_heartbeat) if e.sequence not in self._taken]
        return waiting[: bus.MOST_ENTRIES]

    def _publish(self, batch: List[Entry]) -> bool:
        """Send a batch; True if all of it was taken (or can never be). Raises Trouble."""
        self._introduce()
        assert self._bus is not None
        try:
            codes = self._bus.put(self._source, [entry.text for entry in batch])
        finally:
            self._look_at_clock(self._bus.endpoint.skew)
        failed = []
        for entry, code in zip(batch, codes):  # noqa: B905 (strict= came with Python 3.10)
            if code in HOPELESS:
                log.error("EventBridge will never take this word (%s), it is dropped: %s", code, entry.text)
            elif code:
                failed.append(code)
                continue
            self._taken.add(entry.sequence)
        self._acknowledge()
        if failed:
            reasons = ", ".join(sorted(set(failed)))
            self._note(f"{reasons}: {len(failed)} of {len(batch)} words were not taken")
        return not failed

    def _acknowledge(self) -> None:
        """Acknowledge up to the first word that was not taken."""
        done = 0
        for entry in self._spool.pending():
            if entry.sequence not in self._taken and not is_overtaken(entry, self._taken):
                break
            done = entry.sequence
        if done:
            self._spool.acknowledge(done)
            self._taken = {sequence for sequence in self._taken if sequence > done}
            self.progress = Progress(len(self._spool.pending()), done, time.time(), "")

    def _introduce(self) -> None:
        """Find out under which name this node may speak. Raises Trouble."""
        if self._bus is not None:
            return
        region = self._config.region or self._region()
        endpoint = Endpoint("events", region, self._endpoint_url, self._wallet)
        self._source = f"baton.{self._config.stage}.node/{self._who(region)}"
        self._bus = Bus(endpoint)
        log.info("publishing as %s", self._source)

    def _region(self) -> str:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return region or _asked(self._imds.region)

    def _who(self, region: str) -> str:
        """`role id:instance id`; the role id is asked of AWS once and kept on disk."""
        node = self._config.node or _asked(self._imds.instance_id)
        role = self._config.role_id or self._kept_role(node)
        if role is None:
            url = os.environ.get("AWS_ENDPOINT_URL_STS") or self._endpoint_url
            user = bus.caller(region, url, self._wallet)
            role = user.partition(":")[0]
            kept = os.path.join(self._config.paths.state, "identity.json")
            files.write_durably(kept, json.dumps({"role_id": role, "node": node}))
        return f"{role}:{node}"

    def _kept_role(self, node: str) -> Optional[str]:
        text = files.read(os.path.join(self._config.paths.state, "identity.json"))
        try:
            kept = json.loads(text or "{}")
            return str(kept["role_id"]) if kept.get("node") == node else None
        except (ValueError, KeyError, AttributeError):
            return None

    def _note(self, trouble: str) -> None:
        """Log a failure when it begins, changes or lasts, and its end."""
        before, at = self._logged
        kind = trouble.partition(":")[0]
        now = time.monotonic()
        self.progress = Progress(
            len(self._spool.pending()),
            self.progress.acknowledged,
            self.progress.acknowledged_at,
            trouble,
        )
        if not trouble and before:
            log.info("publishing again; %d words wait", self.progress.pending)
        elif trouble and (kind != before or now - at > REPEAT_LOG_SECONDS):
            log.warning("cannot publish, and keeps trying; words are kept: %s", trouble)
        else:
            return
        self._logged = (kind, now)

    def _look_at_clock(self, skew: float) -> None:
        if bool(skew) != bool(self._skew):
            log.warning("%s", clock_text(skew))
        self._skew = skew


def coalesce(pending: List[Entry], is_repeat: Callable[[Entry], bool]) -> List[Entry]:
    """Leave out repeats (heartbeats) that a newer word has overtaken.

    That is safe for any word: the orchestrator keeps each node's newest word only, by sequence, and
    EventBridge promises no order. Had the newer word overtaken the older one on the way, which may
    always happen, the older one would have been ignored on arrival: leaving it out is the same run.
    Transitions and answers are sent all the same, for the people who read the history.
    """
    return [entry for entry in pending[:-1] if not is_repeat(entry)] + pending[-1:]


def _asked(question: Callable[[], str]) -> str:
    try:
        return question()
    except ImdsError as error:
        raise Trouble("NoIdentity", str(error)) from error


def clock_text(skew: float) -> str:
    """What is wrong with the clock and what follows. `skew`: seconds that AWS's is ahead of ours."""
    if not skew:
        return "this node's clock agrees with AWS's again"
    side = "behind" if skew > 0 else "ahead of"
    return (
        f"this node's clock is {abs(skew):.0f} s {side} AWS's: its words carry a wrong time, and "
        "count as stale or come from the future; signing with AWS's time; set the clock (chrony)"
    )


def delay(failures: int, share: Callable[[], float]) -> float:
    """How long to wait after so many failures in a row: twice as long each time, at random."""
    most: float = min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(failures, 16))
    return most * (0.5 + share() / 2)


def is_heartbeat(entry: Entry) -> bool:
    """Whether a newer word makes this one pointless."""
    return '"kind":"heartbeat"' in entry.text


def is_overtaken(entry: Entry, taken: Set[int]) -> bool:
    """A heartbeat that was left out because a newer word was taken."""
    return is_heartbeat(entry) and any(sequence > entry.sequence for sequence in taken)
