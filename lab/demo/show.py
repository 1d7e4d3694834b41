"""What a person sees: progress, and for each scenario its timeline, outage and verdicts."""

from __future__ import annotations

import time

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.demo.chaos import Shot, Tally
from lab.demo.lab import Lab
from lab.demo.play import Outcome

WIDTH = 100
GOOD, BAD = "[green]✓[/green]", "[red]✗[/red]"


class Show:
    """Prints to a console, at most 100 columns wide."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, WIDTH)
        self._begin = time.monotonic()

    def say(self, text: str, *, whole: bool = True) -> None:
        """A line of progress, with the time since the beginning; cut at the edge unless `whole`."""
        seconds = time.monotonic() - self._begin
        self.console.print(f"[dim]{seconds:6.1f} s[/dim]  {text}", no_wrap=not whole, overflow="ellipsis")

    def outcome(self, outcome: Outcome) -> None:
        """A scenario's results."""
        self.console.print()
        mark = GOOD if outcome.good else BAD
        title = f"{mark} [bold]{outcome.scenario.name}[/bold]  {outcome.scenario.story}"
        self.console.print(title, Text(_way(outcome), "cyan"))
        for proof in outcome.proofs:
            self.console.print(f"    [dim]seen:[/dim] {proof}")
        if outcome.steps:
            self._timeline(outcome)
        if outcome.trouble:
            self.console.print(f"    [red]proves nothing:[/red] {outcome.trouble}")
        if not outcome.trouble:
            self.console.print(f"    client's outage [bold]{outcome.outage_seconds * 1000:,.0f} ms[/bold]")
        self._verdicts(outcome)

    def _timeline(self, outcome: Outcome) -> None:
        """A bar for each step: when it was reached, of the time until the last."""
        last = max(step.milliseconds for step in outcome.steps) or 1.0
        for step in outcome.steps:
            filled = round(max(0.0, step.milliseconds) / last * 40)
            bar = Text("    ")
            bar.append(f"{step.name:<14}")
            bar.append(f"{step.milliseconds:>8,.0f} ms ", "bold")
            bar.append("─" * filled, "blue")
            bar.append("●", "bold blue")
            self.console.print(bar)

    def _verdicts(self, outcome: Outcome) -> None:
        good = [v for v in outcome.verdicts if v.holds]
        if good:
            self.console.print("    " + "  ".join(f"{GOOD} {verdict.name}" for verdict in good))
        for verdict in outcome.verdicts:
            if not verdict.holds:
                self.console.print(f"    {BAD} [red]{verdict.name} {verdict.sentence}:[/red] {verdict.text}")

    def sum(self, outcomes: list[Outcome]) -> bool:
        """The closing lines; whether all was good."""
        bad = [outcome for outcome in outcomes if not outcome.good]
        unchecked = self._unchecked(outcomes) if len(outcomes) > 1 else []
        self.console.print()
        if len(outcomes) > 1:
            self.console.print(_table(outcomes))
        for name in unchecked:
            self.console.print(f"{BAD} {name} never had anything to look at: it proves nothing")
        seconds = time.monotonic() - self._begin
        if bad or unchecked or not outcomes:
            names = ", ".join(outcome.scenario.name for outcome in bad) or "nothing was played"
            self.console.print(f"{BAD} [bold red]red: {names}[/bold red] in {seconds:.0f} s")
            return False
        played = "1 scenario" if len(outcomes) == 1 else f"{len(outcomes)} scenarios"
        text = f"every guarantee held in {played}"
        self.console.print(f"{GOOD} [bold]{text}[/bold], {seconds:.0f} s")
        return True

    def _unchecked(self, outcomes: list[Outcome]) -> list[str]:
        checked: dict[str, int] = {}
        for outcome in outcomes:
            for verdict in outcome.verdicts:
                checked[verdict.name] = checked.get(verdict.name, 0) + verdict.checked
        return [name for name, count in checked.items() if not count]

    def shot(self, shot: Shot) -> None:
        """One fault of a chaos run, in a line."""
        mark = (GOOD if shot.occurred else "[dim]·[/dim]") if shot.good else BAD
        outage = f"{shot.outage_seconds:5.1f} s" if shot.occurred else "       "
        to = shot.owner or "nobody"
        text = f"{mark} {shot.number:>3} {shot.kind:<20} {outage}  → {to}  [dim]{shot.text}[/dim]"
        self.say(text, whole=not shot.occurred)
        for verdict in shot.verdicts:
            if not verdict.holds:
                self.console.print(f"    {BAD} [red]{verdict.name} {verdict.sentence}:[/red] {verdict.text}")

    def tally(self, tally: Tally, seed: int) -> None:
        """The sum of a chaos run: which faults occurred how often, and what they cost."""
        self.console.print()
        self.console.print("    [dim]fault, how often it occurred, how long the client was not served[/dim]")
        most = max(tally.histogram.values(), default=1)
        for kind, count in sorted(tally.histogram.items()):
            times = sorted(s.outage_seconds for s in tally.shots if s.kind == kind and s.occurred)
            bar = Text(f"    {kind:<20} {count:>4} ")
            bar.append(f"{'█' * max(1, round(count / most * 16)):<16}", "blue")
            bar.append(f"  median {times[len(times) // 2]:4.1f} s, longest {times[-1]:4.1f} s")
            self.console.print(bar)
        if tally.trouble:
            self.console.print(f"{BAD} [red]{tally.trouble}[/red]")
        bad = sum(not shot.good for shot in tally.shots)
        count = sum(tally.histogram.values())
        text = f"{count} faults of {len(tally.histogram)} kinds, seed {seed}"
        result = "every guarantee held" if tally.good else f"red: {bad} faults broke a guarantee"
        seconds = time.monotonic() - self._begin
        self.console.print(f"{GOOD if tally.good else BAD} [bold]{text}: {result}[/bold], {seconds:.0f} s")

    def kept(self, lab: Lab) -> None:
        """How to play with a lab that is left running."""
        self.console.print()
        self.console.print("The lab runs on until Ctrl-C. In another terminal:")
        for name, instance in lab.nodes.items():
            self.console.print(f"    nsenter -at {lab.host(name).init} bash      # node {name}, {instance}")
        for key, value in lab.cloud.environment().items():
            self.console.print(f"    export {key}={value}")
        self.console.print("    ./baton status --stage lab")


def _table(outcomes: list[Outcome]) -> Table:
    """All scenarios at a glance."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("scenario")
    table.add_column("owner")
    table.add_column("client's outage", justify="right")
    table.add_column("took", justify="right")
    table.add_column("guarantees")
    for outcome in outcomes:
        red = [verdict.name for verdict in outcome.verdicts if not verdict.holds]
        red += ["proves nothing"] if outcome.trouble else []
        table.add_row(
            outcome.scenario.name,
            _way(outcome),
            f"{outcome.outage_seconds * 1000:,.0f} ms",
            f"{outcome.seconds:.0f} s",
            f"[red]{', '.join(red)}[/red]" if red else "[green]held[/green]",
        )
    return table


def _way(outcome: Outcome) -> str:
    if not outcome.old:
        return ""
    if outcome.old == outcome.new:
        return f"stays on {outcome.old}"
    return f"{outcome.old} → {outcome.new or 'nobody'}"
