"""One run of the node script: what it was told, what it knows, and what it reports on the way."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Optional

from node_hook.config import Config, Volume
from node_hook.duty import Order, Refusal
from node_hook.epochs import Epochs
from node_hook.paths import Paths

TEXT_BYTES = 2000


class Failed(Exception):
    """The job cannot be done; `code` for the orchestrator, the text for people."""

    def __init__(self, code: str, text: str, *, result: str = "failed") -> None:
        super().__init__(text)
        self.code = code
        self.result = result


@dataclass
class Job:
    """A command under way. `order` is what SSM carried, `config` what root wrote down here."""

    config: Config
    order: Order
    boot: str
    named: "tuple[str, ...]" = ()
    """Volume ids that the command names; the configuration says where they belong."""
    steps: "dict[str, int]" = field(default_factory=dict)
    """Milliseconds that each step took."""
    holders: "list[dict[str, object]]" = field(default_factory=list)
    notes: "list[str]" = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return self.config.paths

    @property
    def epochs(self) -> Epochs:
        return Epochs(self.config.paths, self.boot)

    @property
    def volumes(self) -> "tuple[Volume, ...]":
        """The cluster's volumes here, those that lie in another one after it."""
        return self.config.volumes

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step on stderr before it begins, and take its time."""
        say(name)
        began = time.monotonic()
        try:
            yield
        finally:
            spent = int((time.monotonic() - began) * 1000)
            self.steps[name] = self.steps.get(name, 0) + spent

    def note(self, text: str) -> None:
        """Something that people should read in the answer, though the job went on."""
        say(text)
        self.notes.append(text)

    def overtaken(self, may: "Callable[..., Optional[Refusal]]") -> Optional[Refusal]:
        """Whether a newer command came meanwhile, by the memory of this moment."""
        return may(self.order, self.epochs.read())


def short(text: str, most: int) -> str:
    """As much of a text as takes so many bytes in an answer, where a letter beyond ASCII takes six.

    SSM cuts the output at 24,000 characters: an answer that is cut is no answer, and costs its host.
    """
    while len(json.dumps(text)) > most:
        text = text[: len(text) * 7 // 8]
    return text


def say(text: str) -> None:
    """Progress, for people who look at the command's error output."""
    sys.stderr.write(f"baton: {text}\n")
    sys.stderr.flush()


def answer(job: Job, result: str, code: str, text: str) -> "dict[str, Any]":
    """The answer but for the word, which `node` adds last."""
    return {
        "version": 1,
        "cluster": job.config.cluster,
        "action": job.order.verb,
        "epoch": job.order.epoch,
        "result": result,
        "code": code,
        "text": short("; ".join([text, *job.notes]), TEXT_BYTES),
        "holders": job.holders,
        "steps": job.steps,
    }
