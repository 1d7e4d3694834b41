"""One run of the demo: the stage, the scenarios, the sum of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab.demo import chaos
from lab.demo.lab import Lab
from lab.demo.play import Outcome, perform
from lab.demo.restore import restore
from lab.demo.scenario import Scenario
from lab.demo.scenarios import ALL, named
from lab.demo.show import Show
from lab.demo.stage import stage
from lab.demo.trouble import FAILURES


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for on the command line."""

    scenario: str = ""
    keep: bool = False
    broken_as: str = ""


def run(wanted: Wanted, show: Show | None = None) -> bool:
    """Set the stage and play. True if every fault occurred and every guarantee held."""
    shown = show or Show()
    scenarios = named(wanted.scenario) if wanted.scenario else ALL
    if not scenarios:
        names = ", ".join(each.name for each in ALL)
        shown.say(f"[red]there is no scenario {wanted.scenario!r}; there are: {names}[/red]")
        return False
    try:
        with stage(shown.say, wanted.broken_as) as lab:
            outcomes = play_all(lab, scenarios, shown, broken=bool(wanted.broken_as))
            if wanted.keep:
                keep(lab, shown)
    except FAILURES as trouble:
        shown.say(f"[red]{trouble}[/red]")
        return False
    return shown.sum(outcomes)


def play_all(lab: Lab, scenarios: Sequence[Scenario], shown: Show, *, broken: bool) -> list[Outcome]:
    """Play what is wanted, showing each result as it comes."""
    outcomes = []
    for outcome in perform(lab, scenarios, go_on=not broken):
        shown.outcome(outcome)
        outcomes.append(outcome)
    return outcomes


def keep(lab: Lab, shown: Show) -> None:
    """Mend what the last scenario broke, and leave it running until Ctrl-C."""
    try:
        restore(lab)
        shown.kept(lab)
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        return


def run_chaos(faults: int, seed: int, show: Show | None = None) -> bool:
    """Set the stage and play so many random faults. True if every guarantee held."""
    shown = show or Show()
    tally = chaos.Tally()
    shown.say(f"{faults} faults, seed {seed}")
    try:
        with stage(shown.say) as lab:
            for shot in chaos.run(lab, faults, seed):
                tally.shots.append(shot)
                shown.shot(shot)
    except FAILURES as trouble:
        tally.trouble = str(trouble)
    shown.tally(tally, seed)
    return tally.good
