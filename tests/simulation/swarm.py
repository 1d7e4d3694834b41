"""Random histories in two phases: chaos at random rates, then heal and demand progress.

A seed decides everything: the cluster, how likely each kind of fault is, what befalls the hosts, and
each choice after that. The same seed gives the same history, byte for byte.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, fields, replace

from chalicelib.model import FencePolicy, Power, Vrrp
from tests.simulation import physics
from tests.simulation.moves import begin, moves
from tests.simulation.passing import happen
from tests.simulation.pool import forget
from tests.simulation.scope import Scope, Step, is_done
from tests.simulation.world import Left, World

CHAOS_STEPS = 120
"""Moves of the first phase: some hand-overs long."""

HEAL_SECONDS = 1800.0
"""Virtual time within which a healed world must be settled: the longest backoff, five minutes,
several times over."""

HEAL_STEPS = 6_000
"""A bound for the second phase: more moves in its time mean that somebody runs in circles."""

BEFALLS = ("off", "boots", "hangs", "thaws", "agent-dies", "agent-up", "shuts-down", "FAULT", "BACKUP")
KINDS = ("death", "copy", "loss", "double", "unknown", "throttle", "slow", "late", "pause", "stale")


@dataclass
class History:
    """What a seed led to."""

    seed: int
    labels: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
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
    rates = {kind: dice.choice((0.0, 0.01, 0.05, 0.2)) for kind in (*KINDS, "befalls")}
    try:
        world = begin(scope)
        faults = 0
        for _ in range(CHAOS_STEPS):
            wanted = dice.random() < sum(rates.values())
            step = _fault(dice, scope, world, rates) if wanted else None
            if step is not None:
                faults += 1
                if keep is not None and faults not in keep:
                    step = None
            step = step or _calm(dice, scope, world)
            if step is None:
                break
            world = _take(history, step)
        _heal(dice, history, scope, world)
    except physics.Broken as broken:
        history.broken = broken
    return history


def _scope(dice: random.Random) -> Scope:
    nodes = ("a", "b", "c")[: dice.choice((2, 2, 3))]
    volumes = ("v", "w")[: dice.choice((1, 1, 2))]
    fence = dice.choice((FencePolicy.STOP, FencePolicy.STOP, FencePolicy.NONE))
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
    world = step.world
    physics.check(world)
    return world


def _calm(dice: random.Random, scope: Scope, world: World) -> Step | None:
    steps = [s for s in moves(scope, world) if not s.kind]
    return dice.choice(steps) if steps else None


def _fault(dice: random.Random, scope: Scope, world: World, rates: dict[str, float]) -> Step | None:
    """A fault whose kind is drawn by the seed's rates, if there is one of that kind here."""
    kind = dice.choices(list(rates), weights=[rate + 1e-9 for rate in rates.values()])[0]
    if kind == "befalls":
        host = dice.choice(world.hosts)
        what = dice.choice(BEFALLS)
        if host.power is not Power.RUNNING and what != "boots":
            return None
        label = f"{host.name} {what}"
        return Step(label, what, lambda: happen(world, (host.name, what)))
    steps = [s for s in moves(scope, world) if s.kind == kind]
    return dice.choice(steps) if steps else None


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
