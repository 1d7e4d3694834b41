"""Chaos: random faults, one after the other, with writes acknowledged between any two.

After each fault the operator mends what is broken, as between scenarios, and the guarantees are
judged by what was seen. The seed decides kinds and targets; the machine's timing is its own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from lab.demo.evidence import longest_silence
from lab.demo.faults import KINDS, Kind
from lab.demo.lab import Lab
from lab.demo.restore import restore
from lab.demo.trouble import FAILURES, Trouble
from lab.demo.verdicts import Verdict, judge

FENCES_MOST = 4
FENCE_WINDOW_SECONDS = 600.0
"""The app stops at most five nodes in ten minutes over the fleet. One is left in reserve."""
CHAOS_SETTLE_SECONDS = 150.0
"""L1's bound. A call without a definite outcome counts as one that may still happen for 60 s, and the
hand-over that it holds up begins afterwards; a release that nobody answers takes 20 s."""
WRITES_LEAST = 20
WRITES_SECONDS = 30.0
WITHOUT_MOST = 5
"""Faults in a row that did not occur: the lab does not do what it should."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One fault that was brought about, or was not, and what was seen."""

    number: int
    kind: str
    text: str
    occurred: bool
    owner: str = ""
    outage_seconds: float = 0.0
    verdicts: tuple[Verdict, ...] = ()

    @property
    def good(self) -> bool:
        """Whether every guarantee held."""
        return all(verdict.holds for verdict in self.verdicts)


@dataclass(slots=True)
class Tally:
    """The sum of a run."""

    shots: list[Shot] = field(default_factory=list)
    trouble: str = ""

    @property
    def histogram(self) -> Counter[str]:
        """Faults that really occurred, by kind."""
        return Counter(shot.kind for shot in self.shots if shot.occurred)

    @property
    def good(self) -> bool:
        """Whether every guarantee held, and the run came to its end."""
        return not self.trouble and bool(self.histogram) and all(shot.good for shot in self.shots)


def run(lab: Lab, faults: int, seed: int) -> Iterator[Shot]:
    """So many faults that really occur. Raises Trouble if the lab cannot be mended between two."""
    rng = Random(seed)
    deck: list[Kind] = []
    occurred, missed, number = 0, 0, 0
    while occurred < faults:
        number += 1
        deck = deck or rng.sample(KINDS, len(KINDS))
        kind = draw(lab, deck)
        shot = shoot(lab, kind, number, rng)
        occurred += shot.occurred
        missed = 0 if shot.occurred else missed + 1
        yield shot
        if missed >= WITHOUT_MOST:
            raise Trouble(f"{missed} faults in a row did not occur, the last: {shot.text}")
        restore(lab)
        await_writes(lab)


def draw(lab: Lab, deck: list[Kind]) -> Kind:
    """The next kind; one that may end in a Stop waits while too many nodes were stopped."""
    wall = time.time() - FENCE_WINDOW_SECONDS
    stops = [c for c in lab.cloud.calls.of("StopInstances", kind="function") if c.at >= wall and not c.error]
    allowed = [kind for kind in deck if not kind.fences or len(stops) < FENCES_MOST]
    kind = (allowed or [kind for kind in KINDS if not kind.fences])[0]
    if kind in deck:
        deck.remove(kind)
    else:
        deck.clear()
    return kind


def shoot(lab: Lab, kind: Kind, number: int, rng: Random) -> Shot:
    """One fault, the time until all is settled again, and the verdicts."""
    begin = time.monotonic()
    try:
        text, occurred = kind.bring_about(lab, rng), True
    except FAILURES as missing:
        text, occurred = str(missing), False
    # Nobody mends anything yet: what was killed stays dead, and the cluster settles all the same.
    lab.await_settled(CHAOS_SETTLE_SECONDS, must=False)
    seen = lab.evidence(begin)
    outage = longest_silence(seen.writes, begin, seen.ended)
    return Shot(number, kind.name, text, occurred, lab.owner_or(""), outage, judge(seen))


def await_writes(lab: Lab) -> None:
    """Wait until the client was served for a while."""
    since = time.monotonic()
    lab.wait(
        f"{WRITES_LEAST} writes are acknowledged between two faults",
        lambda: lab.acknowledged(since) >= WRITES_LEAST,
        WRITES_SECONDS,
        poll=0.1,
    )
