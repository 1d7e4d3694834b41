"""Random histories in two phases: chaos at random rates, then heal and demand progress.

A seed decides everything: the cluster, how likely each kind of fault is, what befalls the hosts, and
each choice after that. The same seed gives the same history, byte for byte.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from functools import partial

from chalicelib.model import FencePolicy, Power, Vrrp
from tests.simulation import physics, store
from tests.simulation.drivers import spawn
from tests.simulation.moves import begin, moves
from tests.simulation.passing import happen
from tests.simulation.pool import forget
from tests.simulation.scope import Scope, Step, is_done
from tests.simulation.world import Left, World

CHAOS_STEPS = 240
"""Moves of the first phase: some hand-overs long."""

RATES = (0.0, 0.01, 0.05)
"""How likely a kind of fault is at each move; a seed draws one for each kind."""

BEFALLS_RATES = (0.02, 0.05, 0.1)
"""The same for what befalls hosts: without it little happens that a fault could meet."""

HEAL_SECONDS = 1800.0
"""Virtual time within which a healed world must be settled: the longest backoff, five minutes,
several times over."""

HEAL_STEPS = 6_000
"""A bound for the second phase: more moves in its time mean that somebody runs in circles."""

BEFALLS = (
    *("off", "boots", "hangs", "thaws", "agent-dies", "agent-up", "shuts-down", "FAULT", "BACKUP"),
    "warned",
)
WARNED_SECONDS = 120.0
"""So long before it takes an instance, Spot says so. Here it does not come true."""

KINDS = ("death", "copy", "loss", "double", "unknown", "throttle", "slow", "late", "pause", "stale")
ACTIONS = (
    *("attach", "detach", "detach by force", "move", "fence", "start"),
    *("acquire", "release", "release --unless-master", "status", "handover"),
)
"""What Baton can do: an action that occurs in no history is tested by none."""

ACTION = re.compile(r"d\d+'* (?:sends )?([a-z]+)(?: \d+( --unless-master)?)?.*?( by force)?(?: \(.*\))?$")


@dataclass
class History:
    """What a seed led to."""

    seed: int
    labels: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    broken: physics.Broken | None = None

    def text(self) -> str:
        """The whole history, for people; equal for equal seeds."""
        lines = [f"seed {self.seed}", *self.labels]
        return "\n".join([*lines, str(self.broken or "ok")]) + "\n"


def run(seed: int, *, keep: frozenset[int] | None = None) -> History:
    """The history of a seed. `keep`: the numbers of the faults that happen, None for all."""
    forget()
    dice = random.Random(seed)
    history = History(seed)
    scope = _scope(dice)
    try:
        world = _chaos(dice, history, scope, keep)
        _heal(dice, history, scope, world)
    except physics.Broken as broken:
        history.broken = broken
    return history


def _chaos(dice: random.Random, history: History, scope: Scope, keep: frozenset[int] | None) -> World:
    """The first phase. A fault that is drawn waits until it can happen: a call that is throttled
    must first be made."""
    rates = {kind: dice.choice(RATES) for kind in KINDS}
    rates["befalls"] = dice.choice(BEFALLS_RATES)
    world, faults = begin(scope), 0
    drawn: list[str] = []
    for _ in range(CHAOS_STEPS):
        drawn += [kind for kind, rate in rates.items() if kind not in drawn and dice.random() < rate]
        step = _fault(dice, scope, world, drawn)
        if step is not None:
            faults += 1
            step = step if keep is None or faults in keep else None
        step = step or _calm(dice, scope, world)
        if step is None:
            break
        world = _take(history, step)
    return world


def _scope(dice: random.Random) -> Scope:
    nodes = ("a", "b", "c")[: dice.choice((2, 2, 3))]
    volumes = ("v", "w")[: dice.choice((1, 1, 2))]
    fence = dice.choice((FencePolicy.STOP, FencePolicy.STOP, FencePolicy.NONE, FencePolicy.FORCE_DETACH))
    plenty = Left(*[99] * len(fields(Left)))
    return Scope(
        "swarm",
        "",
        nodes=nodes,
        volumes=volumes,
        left=plenty,
        drivers=3,
        rests=False,
        horizon_seconds=1e9,
        settings=(("fence", fence),),
    )


def _take(history: History, step: Step) -> World:
    history.labels.append(f"{step.kind or '-':8} {step.label}")
    history.kinds[step.kind] += 1
    if action := ACTION.match(step.label):
        history.actions["".join(filter(None, action.groups()))] += 1
    world = step.world
    physics.check(world)
    return world


def _calm(dice: random.Random, scope: Scope, world: World) -> Step | None:
    steps = [s for s in moves(scope, world) if not s.kind]
    return dice.choice(steps) if steps else None


def _fault(dice: random.Random, scope: Scope, world: World, drawn: list[str]) -> Step | None:
    """One of the faults that were drawn, if any can happen here; it is drawn no more."""
    if "befalls" in drawn:
        drawn.remove("befalls")
        host, what = dice.choice(world.hosts), dice.choice(BEFALLS)
        if host.power is not Power.RUNNING and what != "boots":
            return None
        return Step(f"{host.name} {what}", what, partial(_befall, scope, world, host.name, what))
    steps = [s for s in moves(scope, world) if s.kind in drawn] if drawn else []
    step = dice.choice(steps) if steps else None
    if step is not None:
        drawn.remove(step.kind)
    return step


def _befall(scope: Scope, world: World, name: str, what: str) -> World:
    if what != "warned":
        return happen(world, (name, what))
    return spawn(scope, store.warn(world, name, WARNED_SECONDS))


def _heal(dice: random.Random, history: History, scope: Scope, world: World) -> None:
    """No more faults; hosts thaw, agents come up, what is off is started: it must settle."""
    history.labels.append("-        heal")
    world = world.with_(
        left=Left(), cloud=replace(world.cloud, sticks=False, late=(), shown=None, stale_until=None)
    )
    for host in world.hosts:
        well = replace(host, hung=False, agent=True)
        world = world.with_host(well)
        if host.power is Power.STOPPED:
            world = physics.boot(world, world.host(host.name))
        elif well.vrrp in (Vrrp.STOP, Vrrp.FAULT):
            world = happen(world, (host.name, "BACKUP"))
    end = world.now + HEAL_SECONDS
    for _ in range(HEAL_STEPS):
        if is_done(scope, world):
            return
        steps = [s for s in moves(scope, world) if not s.kind]
        world = _take(history, dice.choice(steps))
        if world.now > end:
            obstacle = world.record.obstacle
            text = f"blocked: {obstacle.text}" if obstacle else "not blocked either"
            raise physics.Broken("L1", f"not settled {HEAL_SECONDS:.0f} s after healing; {text}")
    raise physics.Broken("L1", "somebody runs in circles")


def shrink(seed: int) -> History:
    """The history with as few faults as still break the same guarantee."""
    whole = run(seed)
    if whole.broken is None:
        return whole
    kept = frozenset(range(1, sum(n for kind, n in whole.kinds.items() if kind) + 1))
    best = whole
    for number in sorted(kept):
        tried = run(seed, keep=kept - {number})
        if tried.broken is not None and tried.broken.guarantee == whole.broken.guarantee:
            kept, best = kept - {number}, tried
    return best
