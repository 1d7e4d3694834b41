"""Stories that a person can read: what happens in, what Baton does out.

A story is a text. Its input lines say what happens; the lines that begin with `>` are what followed,
as the real core decides it in the simulated world. Between two input lines everybody does what they
can, always in the same order, and no time passes.

    # A title, and why the story is told.
    nodes a b             who is there; further words: volumes=v,w fence=none adopted=no …
    a BACKUP              a node's keepalived says so: MASTER BACKUP FAULT STOP
    a off                 or: boots, shuts-down, hangs, thaws, agent-dies, agent-hangs, agent-up
    a ill damaged         every Acquire on a fails so: damaged, health, … (`a ill` ends it)
    v at b                somebody else puts a volume, or `address`, there; `nowhere` takes it away
    stops stick           an instance that is stopped stays in `stopping` (`stops work` ends it)
    describes freeze      Describes show the attachments as they are now, until `describes work`
    boots take 60         from EC2's `running` to a host's first word, in seconds
    cut a / heal a        a's words do not reach Baton, / reach it again
    hold a / free a       commands do not reach a's agent, / reach it
    call unknown          outcome of Baton's next call: unknown, lost, late, throttled, done
    call refused          EC2 or SSM refuses Baton's next call
    lose a                commands that wait for a's agent never reach it
    stopping a            a is off, but EC2 says no more than that it is stopping, until `stops work`
    confirm a             a person says that a is off
    a warned 120          AWS says that it takes a in so many seconds
    pause / resume        the cluster is paused / no longer
    shuffle               words that wait to reach Baton do so in the opposite order
    lands                 a call that was late takes effect now
    driver dies           whoever drives is gone
    wait 5                so many seconds pass
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from chalicelib.model import FencePolicy, Power
from chalicelib.reconcile import Act
from chalicelib.record_items import with_confirmed
from tests.simulation import physics, store
from tests.simulation.drivers import action_text, drive, spawn, tidy
from tests.simulation.instant import instant
from tests.simulation.moves import begin
from tests.simulation.passing import due, happen
from tests.simulation.pool import keep
from tests.simulation.scope import Scope, Step
from tests.simulation.world import World, request

STEPS_MOST = 2_000
"""Steps of one story between two moments: more means that somebody runs in circles."""


class BadStory(ValueError):
    """A line that cannot be understood: which, and what is possible."""


@dataclass
class Teller:
    """A story while it is told."""

    scope: Scope
    world: World
    held: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)


def tell(text: str) -> str:
    """The story with the lines that follow from its input, in place of those it has."""
    lines = [line for line in text.splitlines() if not line.startswith(">")]
    teller: Teller | None = None
    out: list[str] = []
    for number, line in enumerate(lines, 1):
        out.append(line)
        words = line.split("#")[0].split()
        if not words:
            continue
        if teller is None:
            teller = _begin(words, number)
            out += [f"> {fact}" for fact in _state(teller)]
            continue
        out += [f"> {fact}" for fact in _line(teller, words, number)]
    return "\n".join(out).rstrip() + "\n"


def _begin(words: list[str], number: int) -> Teller:
    if words[0] != "nodes":
        raise BadStory(f"line {number}: a story begins with `nodes a b …`, not {words[0]!r}")
    names = tuple(word for word in words[1:] if "=" not in word)
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    settings: list[tuple[str, object]] = []
    if "fence" in options:
        settings.append(("fence", FencePolicy(options["fence"])))
    if options.get("paused") == "yes":
        settings.append(("paused", True))
    scope = Scope(
        "story",
        "",
        nodes=names,
        volumes=tuple(options.get("volumes", "v").split(",")),
        elects=False,
        adopted=options.get("adopted", "yes") == "yes",
        horizon_seconds=1e9,
        settings=tuple(settings),
    )
    return Teller(scope, begin(scope))


def _line(teller: Teller, words: list[str], number: int) -> Iterator[str]:
    before = len(teller.world.record.marks), teller.world.record.epoch
    try:
        yield from _happen(teller, words)
        yield from _run(teller)
    except physics.Broken as broken:
        yield f"BROKEN {broken}"
    except (KeyError, StopIteration, IndexError, ValueError) as problem:
        raise BadStory(f"line {number}: {' '.join(words)!r} is not understood") from problem
    if (len(teller.world.record.marks), teller.world.record.epoch) != before or words[0] == "wait":
        yield from _state(teller)


def _happen(teller: Teller, words: list[str]) -> Iterator[str]:
    match words:
        case ["wait", seconds]:
            yield from _wait(teller, float(seconds))
        case ["cut", name]:
            teller.cut.add(name)
        case ["heal", name]:
            teller.cut.discard(name)
        case ["hold", name]:
            teller.held.add(name)
        case ["free", name]:
            teller.held.discard(name)
        case ["call", outcome]:
            teller.calls.append(outcome)
        case ["shuffle"]:
            teller.world = teller.world.with_(bus=tuple(reversed(teller.world.bus)))
        case ["lose", name]:
            cloud = teller.world.cloud
            mail = tuple(m for m in cloud.mail if m.command.node != name)
            teller.world = teller.world.with_(cloud=replace(cloud, mail=mail))
        case ["stopping", name]:
            off = physics.power_off(teller.world, teller.world.host(name))
            off = off.with_host(replace(off.host(name), power=Power.STOPPING))
            off = off.with_(cloud=replace(off.cloud, sticks=True))
            teller.world = spawn(teller.scope, off)
        case ["confirm", name]:
            record = teller.world.record
            told = with_confirmed(record, {name: record.epoch})
            teller.world = teller.world.with_(record=replace(told, words_version=told.words_version + 1))
            teller.world = spawn(teller.scope, teller.world)
        case [name, "warned", seconds]:
            warned = store.warn(teller.world, name, float(seconds))
            teller.world = spawn(teller.scope, warned)
        case ["pause" | "resume" as word]:
            settings = [pair for pair in teller.scope.settings if pair[0] != "paused"]
            settings += [("paused", True)] if word == "pause" else []
            teller.scope = keep(replace(teller.scope, settings=tuple(settings)))
            free = replace(teller.world.record, lease=None)  # who drives has read the old definition
            teller.world = tidy(teller.world.with_(drivers=(), record=free))
        case ["driver", "dies"]:
            teller.world = tidy(teller.world.with_(drivers=()))
        case ["lands"]:
            yield from _land(teller)
        case _:
            teller.world = happen(teller.world, tuple(words))


def _land(teller: Teller) -> Iterator[str]:
    late = teller.world.cloud.late[0]
    rest = teller.world.cloud.late[1:]
    world = teller.world.with_(cloud=replace(teller.world.cloud, late=rest))
    teller.world, outcome, code = physics.call(world, teller.scope.cluster, late.action)
    yield f"{action_text(late.action)} takes effect: {code or outcome.value}"


def _run(teller: Teller) -> Iterator[str]:
    """Everybody does what they can; no time passes."""
    for _ in range(STEPS_MOST):
        step = next(_possible(teller), None)
        if step is None:
            return
        teller.world = step.world
        if not step.label.endswith((" Load", " Persist", " Wait", " GiveUp")):
            yield re.sub(r"^d\d'*(?= )", "Baton", step.label)
        physics.check(teller.world)
    raise RuntimeError("somebody runs in circles")


def _possible(teller: Teller) -> Iterator[Step]:
    """What can happen now, drivers first, less what the story holds back."""
    for driver in teller.world.drivers:
        if driver.is_awake:
            asked = request(teller.scope.cluster, driver)
            outcome = teller.calls.pop(0) if teller.calls and isinstance(asked, Act) else ""
            outcome = "" if outcome == "done" else outcome
            yield drive(teller.scope, teller.world, driver, outcome=outcome)
    for step in instant(teller.scope, teller.world):
        name = step.label.split()[0].removesuffix("'s")
        if step.label.endswith("reaches Baton") and name in teller.cut:
            continue
        if "'s agent runs" in step.label and name in teller.held:
            continue
        if not any(step.label.startswith(f"{d.holder} ") for d in teller.world.drivers):
            yield step


def _wait(teller: Teller, seconds: float) -> Iterator[str]:
    """Time passes, from one moment at which something is due to the next."""
    end = teller.world.now + seconds
    for _ in range(STEPS_MOST):
        yield from _run(teller)
        until = min([end, *(m for m in _moments(teller) if m > teller.world.now)])
        late = tuple(x for x in teller.world.cloud.late if x.until > until)
        cloud = replace(teller.world.cloud, late=late)
        later = teller.world.with_(now=until, cloud=cloud)
        teller.world = due(teller.scope, later)
        if until >= end:
            return
    raise RuntimeError("too much is due")


def _moments(teller: Teller) -> Iterator[float]:
    world = teller.world
    yield world.sweep_at
    yield from (d.wakes_at for d in world.drivers if d.wakes_at is not None)
    yield from (h.next_beat for h in world.hosts if h.runs)
    yield from (h.boots_at for h in world.hosts if h.boots_at is not None)
    yield from (h.acquiring.command.deadline for h in world.hosts if h.acquiring)


def _state(teller: Teller) -> Iterator[str]:
    """Where the cluster stands, in one line."""
    record, world = teller.world.record, teller.world
    state = "settled" if record.settled else "moving" if record.owner else "no owner"
    mounted = ", ".join(h.name for h in world.hosts if h.mounted) or "nobody"
    because = f" ({record.because})" if record.because else ""
    blocked = f"; blocked: {record.obstacle.text}" if record.obstacle else ""
    yield (
        f"= epoch {record.epoch} of {record.owner or 'nobody'}{because}, {state}; "
        f"mounted by {mounted}; address at {world.cloud.holder or 'nobody'}{blocked}"
    )


__all__ = ["BadStory", "tell"]


def main(paths: list[str]) -> None:
    """Rewrite stories with what follows from their input today: read the difference."""
    for path in paths:
        text = Path(path).read_text()
        Path(path).write_text(tell(text))


if __name__ == "__main__":
    main(sys.argv[1:])
