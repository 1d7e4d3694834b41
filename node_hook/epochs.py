"""The node's durable memory: the epoch file, and who may change it.

Each change is read, decided and written under a lock that is held for one fsync and never while
anything else is done. The lock under which volumes are mounted and unmounted is another one
(`work`), so a newer command can raise the highest epoch while an older one is still at work, which
notices and makes way.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import Callable, Iterator, Optional, TypeVar

from node_hook import files
from node_hook.duty import Go, Memory, Refusal
from node_hook.paths import Paths

MEMORY_SECONDS = 5.0
"""The epoch file's lock is held for one fsync: past this the disk does not answer."""

Verdict = TypeVar("Verdict")


class StateError(Exception):
    """The epoch file cannot be read or written; the text says what to do."""


class Locked(Exception):
    """Somebody else is at work past our deadline; the text says who."""


class Epochs:
    """The epoch file of one node, seen from one boot: what an earlier boot served is over."""

    def __init__(self, paths: Paths, boot: str) -> None:
        self.paths = paths
        self.boot = boot

    def read(self) -> Memory:
        """What is remembered; nothing at all on a node that is new or has lost its disk."""
        text = files.read(self.paths.epoch)
        if text is None:
            return Memory()
        try:
            raw = json.loads(text)
            serving = raw["serving"] if raw["boot"] == self.boot else None
            return Memory(int(raw["highest"]), int(raw["released"]), serving)
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{self.paths.epoch} is damaged ({error}): without it this node cannot tell old "
                "commands from new ones; look up the cluster's epoch and run `node.py reset`"
            ) from error

    def decide(self, judge: "Callable[[Memory], Refusal | Go]") -> "Refusal | Go":
        """Judge by the memory of this moment; a Go's memory is on disk before this returns."""
        with self._changing():
            before = self.read()
            verdict = judge(before)
            if isinstance(verdict, Go):
                self._write(before, verdict.memory)
            return verdict

    def change(self, step: Callable[[Memory], Memory]) -> Memory:
        """Apply a step to the memory of this moment, durably."""
        with self._changing():
            before = self.read()
            return self._write(before, step(before))

    def reset(self, highest: int, who: str) -> None:
        """Set the highest epoch by hand, down too: the one way to go back, and it is audited."""
        with self._changing():
            before = files.read(self.paths.epoch) or "nothing"
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            files.append_durably(self.paths.audit, f"{at} reset to {highest} by {who}; was {before}")
            self._write(None, Memory(highest, highest, None))

    def _write(self, before: Optional[Memory], after: Memory) -> Memory:
        if after != before:
            raw = {"version": 1, **after.__dict__, "boot": self.boot}
            try:
                files.write_durably(self.paths.epoch, json.dumps(raw))
            except OSError as error:
                raise StateError(f"cannot write {self.paths.epoch}: {error.strerror}") from error
        return after

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with files.locked(f"{self.paths.epoch}.lock", time.time() + MEMORY_SECONDS):
                yield
        except TimeoutError:
            text = f"{self.paths.epoch}.lock has been held for {MEMORY_SECONDS} s: is the disk hung?"
            raise StateError(text) from None


@contextmanager
def work(paths: Paths, what: str, until: float) -> Iterator[None]:
    """Hold the lock under which volumes are mounted and unmounted. Raises Locked."""
    try:
        with files.locked(paths.lock, until) as descriptor:
            note = {"pid": os.getpid(), "what": what, "since": time.time(), "until": until}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
            yield
    except TimeoutError:
        raise Locked(_held_by(paths)) from None


def _held_by(paths: Paths) -> str:
    try:
        note = json.loads(files.read(paths.lock) or "")
        now = time.time()
        text = f"process {note['pid']} ({note['what']}) has been at work for {now - note['since']:.0f} s"
        late = now - note["until"]
        return f"{text}, {late:.0f} s past its deadline" if late > 0 else text
    except (ValueError, KeyError, TypeError):
        return f"somebody holds {paths.lock}"
