"""One run of the demo: the stage, the scenarios, the sum of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.demo import chaos
from lab.demo.broken import BREAKS
from lab.demo.lab import Lab
from lab.demo.play import Outcome, perform
from lab.demo.scenarios import ALL, named
from lab.demo.show import Show
from lab.demo.stage import stage
from lab.demo.trouble import Trouble

__all__ = ["BREAKS", "NAMES", "Wanted", "run", "run_chaos"]

NAMES = list(dict.fromkeys(name for each in ALL for name in (each.name.split("-")[0], each.name)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for on the command line."""

    scenario: str = ""
    keep: bool = False
    broken_as: str = ""


def run(wanted: Wanted, show: Show | None = None) -> bool:
    """Set the stage and play. True if every fault occurred and every guarantee held."""
    shown = show or Show()
    try:
        with stage(shown.say, wanted.broken_as) as lab:
            outcomes = play_all(lab, wanted, shown)
            if wanted.keep:
                keep(lab, shown)
    except Trouble as trouble:
        shown.say(f"[red]{trouble}[/red]")
        return False
    return shown.sum(outcomes)


def play_all(lab: Lab, wanted: Wanted, shown: Show) -> list[Outcome]:
    """Play what is wanted, showing each result as it comes."""
    outcomes = []
    for outcome in perform(lab, named(wanted.scenario) if wanted.scenario else ALL):
        shown.outcome(outcome)
        outcomes.append(outcome)
    return outcomes


def keep(lab: Lab, shown: Show) -> None:
    """Leave it running until Ctrl-C."""
    shown.kept(lab)
    while True:
        time.sleep(1.0)


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
    except Trouble as trouble:
        tally.trouble = str(trouble)
    shown.tally(tally, seed)
    return tally.good
