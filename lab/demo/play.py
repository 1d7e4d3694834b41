"""Plays scenarios one after the other, judges each, and brings the lab back to health between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.demo import restore
from lab.demo.evidence import longest_silence
from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario
from lab.demo.timeline import Step, timeline
from lab.demo.trouble import FAILURES
from lab.demo.verdicts import Verdict, judge


@dataclass(frozen=True, slots=True)
class Outcome:
    """A scenario that was played: what happened, and what is to be said of it."""

    scenario: Scenario
    seconds: float
    verdicts: tuple[Verdict, ...] = ()
    steps: tuple[Step, ...] = ()
    old: str = ""
    new: str = ""
    outage_seconds: float = 0.0
    proofs: tuple[str, ...] = ()
    trouble: str = ""
    """Why the scenario proves nothing: its fault did not occur, or the lab failed."""

    @property
    def good(self) -> bool:
        """Whether the fault occurred and every guarantee held."""
        return not self.trouble and all(verdict.holds for verdict in self.verdicts)


def perform(lab: Lab, scenarios: Sequence[Scenario], *, go_on: bool = True) -> Iterator[Outcome]:
    """Play them. Stops after one that leaves the lab in a state that cannot be mended.

    Without `go_on` it stops after the first red one: a broken build has shown what it is.
    """
    for scenario in scenarios:
        outcome = perform_one(lab, scenario)
        yield outcome
        if scenario is scenarios[-1] or not (outcome.good or go_on):
            return
        try:
            restore.restore(lab)
        except FAILURES as trouble:
            lost = Scenario("between scenarios", "everything is mended by the operator", scenario.play)
            yield Outcome(lost, 0.0, trouble=str(trouble))
            return


def perform_one(lab: Lab, scenario: Scenario) -> Outcome:
    """Play one scenario, wait until all is settled, and judge what was seen."""
    begin = time.monotonic()
    try:
        played = scenario.play(lab)
    except FAILURES as trouble:
        # What was seen is judged all the same: it may be the reason.
        verdicts = judge(lab.evidence(begin))
        return Outcome(scenario, time.monotonic() - begin, verdicts, trouble=str(trouble))
    lab.await_settled(must=False)
    return judged(lab, scenario, played, begin)


def judged(lab: Lab, scenario: Scenario, played: Played, begin: float) -> Outcome:
    """The verdicts, the timeline and the outage of a scenario."""
    seen = lab.evidence(begin)
    new = lab.owner_or("")
    return Outcome(
        scenario,
        time.monotonic() - begin,
        (*judge(seen), *played.expected),
        timeline(seen, lab.cloud.calls, lab.nodes, played.fault_at, played.old, new),
        played.old,
        new,
        longest_silence(seen.writes, played.fault_at - 0.5, seen.ended),
        played.proofs,
    )
