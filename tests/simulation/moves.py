"""Every move that a world can make: the next step of anybody, and each fault that is left. Pure.

Within one instant all orders are explored; time passes only when nobody can move, to the next
moment at which something is due. A *slow* fault lets time pass although somebody could move: that is
a message held up, a driver frozen past its lease, a device that takes its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chalicelib import timing
from chalicelib.model import Attached, Cluster, Outcome, Power, Record, Send, Vrrp, Word
from chalicelib.progress import Done
from chalicelib.reconcile import Act, GiveUp, Load, Observe, Persist, Reply, Take, Tell, Wait
from tests.simulation import physics
from tests.simulation.world import (
    START,
    Cloud,
    Driver,
    Host,
    Late,
    Left,
    Mail,
    World,
    intern,
    request,
    volume_is_at,
)

SWEEP_SECONDS = 60.0


@dataclass(frozen=True)
class Scope:
    """A small world to explore: who is there, what happens, and which faults may happen."""

    name: str
    script: str
    nodes: tuple[str, ...] = ("a", "b")
    volumes: tuple[str, ...] = ("v",)
    left: Left = field(default_factory=Left)
    elects: bool = True
    """Whether keepalived elects by itself; else only the script says who is MASTER."""
    adopted: bool = True
    """Begin settled on the first node; else in a world that Baton has not seen yet."""
    drivers: int = 2
    horizon_seconds: float = 900.0
    may_block: bool = False
    settings: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster's definition."""
        definition = Cluster("c", self.nodes, self.volumes, ("10.0.0.9",), **dict(self.settings))
        return intern(definition)

    @cached_property
    def happenings(self) -> tuple[tuple[str, ...], ...]:
        """The script's lines: `;` begins the next; one with `~` waits until all is quiet."""
        lines = [line.strip() for line in self.script.split(";")]
        return tuple(tuple(line.split()) for line in lines if line)


@dataclass(frozen=True, slots=True)
class Step:
    """A move: what it is called, the kind of fault it is ("" for none), and where it leads."""

    label: str
    kind: str
    world: World


def begin(scope: Scope) -> World:
    """The first world of a scope."""
    hosts = []
    for index, name in enumerate(scope.nodes):
        beat = START + 15 + index / 10
        hosts.append(Host(name, priority=254 - index, next_beat=beat))
    world = World(
        START,
        Record("c"),
        tuple(hosts),
        Cloud(),
        (),
        (),
        0,
        scope.left,
        START + SWEEP_SECONDS,
    )
    world = world.with_(**world._asdict())
    for name in scope.nodes:
        state = Vrrp.MASTER if scope.adopted and name == scope.nodes[0] else Vrrp.BACKUP
        world = world.with_host(replace(world.host(name), vrrp=state))
        world, word = physics.say(world, world.host(name))
        world = physics.accept(world, word)
    return _settled(scope, world) if scope.adopted else world


def _settled(scope: Scope, world: World) -> World:
    """The world after an adoption without faults."""
    calm = world.with_(left=Left())
    calm = spawn(scope, calm)
    for _ in range(500):
        steps = [s for s in moves(replace(scope, script=""), calm) if not s.kind]
        if not steps or is_done(scope, calm, scripted=False):
            return tidy(calm.with_(left=scope.left))
        calm = steps[0].world
    raise RuntimeError("the adoption does not settle")


def spawn(scope: Scope, world: World) -> World:
    """A Lambda is invoked: one more driver, unless as many as the scope allows are alive."""
    if len(world.drivers) >= scope.drivers or any(not d.taken for d in world.drivers):
        return world  # one that has yet to ask for the lease finds whatever a second would
    if world.record.lease is not None and world.record.lease.until > world.now:
        return world  # it would find the lease taken, and leave
    names = {driver.holder for driver in world.drivers}
    name = next(f"d{n}" for n in range(scope.drivers + 1) if f"d{n}" not in names)
    lease = world.record.lease
    if lease is not None and lease.holder == name:
        name += "'" * (1 + name.count("'"))
    return world.with_driver(Driver(name))


def tidy(world: World) -> World:
    """A world without what nobody can tell any more: counters when no driver is alive."""
    if world.drivers:
        return world
    record = world.record
    wanted = {a.id for seat in record.seats for a in seat.asked if a.answer is None}
    answers = tuple(pair for pair in world.cloud.answers if pair[0] in wanted)
    return world.with_(
        record=replace(record, version=0, words_version=0),
        cloud=replace(world.cloud, answers=answers),
    )


def moves(scope: Scope, world: World) -> Iterator[Step]:
    """All moves from here. Where nobody can move, time passes."""
    instant = list(_instant(scope, world))
    yield from instant
    yield from _script(scope, world, quiet=not instant)
    if not instant:
        if not _script_waits(scope, world):
            yield from _later(scope, world, "")
    elif world.left.slow:
        slower = world.with_(left=replace(world.left, slow=world.left.slow - 1))
        yield from _later(scope, slower, "slow")
    yield from _faults(scope, world)


def is_quiet(scope: Scope, world: World) -> bool:
    """Whether nobody can move without a fault or the passing of time."""
    return next(iter(_instant(scope, world)), None) is None


def is_done(scope: Scope, world: World, *, scripted: bool = True) -> bool:
    """Whether the world has come to rest where it should: settled, by all that can be seen."""
    record = world.record
    if scripted and world.played < len(scope.happenings):
        return False
    if world.drivers or world.bus or not record.settled or record.owner is None:
        return False
    owner = world.host(record.owner)
    masters = [h.name for h in world.hosts if h.vrrp is Vrrp.MASTER and h.runs]
    serves = owner.mounted and owner.memory.serving == record.epoch and owner.runs
    return serves and world.cloud.holder == owner.name and masters in ([owner.name], [])


# ------------------------------------------------------------------------------------ instant


def _instant(scope: Scope, world: World) -> Iterator[Step]:
    """What somebody can do right now, without any fault."""
    for driver in world.drivers:
        if driver.wakes_at is None:
            yield _drive(scope, world, driver)
    for word in dict.fromkeys(world.bus):
        label = f"{word.node} {word.state.value} reaches Baton"
        yield Step(label, "", _arrive(scope, _without(world, word), word))
    for mail in world.cloud.mail:
        host = world.host(mail.command.node)
        if host.runs and host.agent:
            yield Step(_told(mail), "", physics.deliver(world, mail))
    for host in world.hosts:
        if host.acquiring and host.runs and _has_devices(scope, world, host.name):
            yield Step(f"{host.name} mounts", "", physics.mount(world, host))
    yield from _ec2(world)


def _has_devices(scope: Scope, world: World, name: str) -> bool:
    here = {a.volume for a in world.cloud.attachments if a.node == name and a.state is Attached.ATTACHED}
    return here >= set(scope.volumes)


def _told(mail: Mail) -> str:
    command = mail.command
    word = " --unless-master" if command.unless_master else ""
    return f"{command.node}'s agent runs {command.verb.value} {command.epoch}{word}"


def _without(world: World, word: Word) -> World:
    bus = list(world.bus)
    bus.remove(word)
    return world.with_(bus=tuple(bus))


def _arrive(scope: Scope, world: World, word: Word) -> World:
    accepted = physics.accept(world, word)
    return spawn(scope, accepted) if accepted is not world else world


def _ec2(world: World) -> Iterator[Step]:
    """What EC2 has begun comes to its end."""
    cloud = world.cloud
    for at in cloud.attachments:
        others = tuple(a for a in cloud.attachments if a != at)
        if at.state is Attached.ATTACHING:
            here = tuple(sorted((*others, at._replace(state=Attached.ATTACHED))))
            yield Step(
                f"{at.volume} is attached to {at.node}",
                "",
                world.with_(cloud=replace(cloud, attachments=here)),
            )
        host = world.host(at.node)
        if at.state is Attached.DETACHING and (not host.mounted or host.power.is_off):
            yield Step(
                f"{at.volume} is off {at.node}", "", world.with_(cloud=replace(cloud, attachments=others))
            )
    for host in world.hosts:
        if host.power is Power.STOPPING and not cloud.sticks:
            yield Step(f"{host.name} is stopped", "", physics.power_off(world, host))


# ------------------------------------------------------------------------------------ drivers


def _drive(scope: Scope, world: World, driver: Driver, *, outcome: str = "") -> Step:
    """A driver's request is answered. Reads that follow one another are one move."""
    asked = request(scope.cluster, driver)
    if isinstance(asked, Act):
        return _act(scope, world, driver, asked, outcome)
    label = f"{driver.holder} {type(asked).__name__}"
    if isinstance(asked, Wait):
        return Step(label, "", world.with_driver(replace(driver, wakes_at=asked.until)))
    world, reply = _answer(scope, world, driver, asked)
    return Step(label, "", _told_reply(scope, world, driver, reply))


def _answer(scope: Scope, world: World, driver: Driver, asked: Any) -> tuple[World, Reply]:
    if isinstance(asked, Load):
        return world, world.record
    if isinstance(asked, Persist):
        return physics.persist(world, asked.record, driver.holder)
    if isinstance(asked, GiveUp):
        return physics.give_up(world, asked.record, driver.holder)
    raise TypeError(f"no answer to {asked}")


def _told_reply(scope: Scope, world: World, driver: Driver, reply: Reply) -> World:
    """The driver with this reply; what it can do by itself, it does at once."""
    driver = replace(driver, replies=(*driver.replies, intern(reply)), done=())
    asked = request(scope.cluster, driver)
    while isinstance(asked, Tell):
        driver = replace(driver, replies=(*driver.replies, intern(None)))
        asked = request(scope.cluster, driver)
    if asked is False:
        return tidy(world.with_driver(driver, gone=True))
    if isinstance(asked, Take):
        world, taken = physics.take(world, asked.record, driver.holder)
        return _told_reply(scope, world, driver, taken)
    if asked is True:
        driver = replace(driver, taken=True, replies=())
        asked = request(scope.cluster, driver)
        return world.with_driver(driver)
    if isinstance(asked, Observe):
        return _told_reply(scope, world, driver, physics.observe(world, scope.cluster))
    return world.with_driver(driver)


def _act(scope: Scope, world: World, driver: Driver, asked: Act, outcome: str) -> Step:
    """The next action of an Act, with the outcome that is wanted: "" for what truly happens."""
    action = asked.actions[len(driver.done)]
    label = f"{driver.holder} {action_text(action)}"
    if isinstance(action, Send):
        held = any(a.command == action.command for a in asked.record.seat(action.command.node).asked)
    else:
        held = any(i.action == action for i in asked.record.intents)
    if not held:
        raise physics.Broken("S9", f"{label} without a durable intent")
    lease = asked.record.lease
    if lease is None or lease.until - world.now < timing.CALL_SECONDS:
        outcome = "too late"
    world, done = _perform(scope, world, action, outcome)
    physics.check(world)
    driver = replace(driver, done=(*driver.done, done))
    kind = {"unknown": "unknown", "lost": "unknown", "late": "unknown", "throttled": "throttle"}
    step = kind.get(outcome, "")
    label = f"{label} ({outcome})" if outcome else label
    if len(driver.done) < len(asked.actions):
        return Step(label, step, world.with_driver(driver))
    return Step(label, step, _told_reply(scope, world, driver, driver.done))


def _perform(scope: Scope, world: World, action: Any, outcome: str) -> tuple[World, Done]:
    now = world.now
    if outcome in ("throttled", "too late"):
        return world, Done(action, Outcome.NOT_YET, now, "RequestLimitExceeded")
    if outcome == "lost":
        return world, Done(action, Outcome.UNKNOWN, now)
    if outcome == "late" and not isinstance(action, Send):
        late = (*world.cloud.late, Late(action, now + timing.CALL_TTL_SECONDS))
        return world.with_(cloud=replace(world.cloud, late=late)), Done(action, Outcome.UNKNOWN, now)
    if isinstance(action, Send):
        world, id_, result = physics.send(world, action)
        if outcome == "unknown":
            return world, Done(action, Outcome.UNKNOWN, now)
        return world, Done(action, result, now, id=id_)
    world, result, code = physics.call(world, scope.cluster, action)
    if outcome == "unknown":
        return world, Done(action, Outcome.UNKNOWN, now)
    return world, Done(action, result, now, code)


def action_text(action: Any) -> str:
    """An action, for people."""
    if isinstance(action, Send):
        command = action.command
        word = " --unless-master" if command.unless_master else ""
        return f"sends {command.verb.value} {command.epoch}{word} to {command.node}"
    name = type(action).__name__.lower()
    thing = getattr(action, "volume", "") or " ".join(getattr(action, "addresses", ()))
    return f"{name} {thing} {action.node}".replace("  ", " ")


# ------------------------------------------------------------------------------------- faults


def _faults(scope: Scope, world: World) -> Iterator[Step]:
    left = world.left
    if left.deaths:
        spent = world.with_(left=replace(left, deaths=left.deaths - 1))
        for driver in world.drivers:
            yield Step(f"{driver.holder} dies", "death", tidy(spent.with_driver(driver, gone=True)))
    if left.copies or left.losses:
        yield from _bus_faults(scope, world)
    if left.doubles:
        spent = world.with_(left=replace(left, doubles=left.doubles - 1))
        for mail in world.cloud.mail:
            host = world.host(mail.command.node)
            if host.runs and host.agent:
                label = _told(mail) + ", and will again"
                yield Step(label, "double", physics.deliver(spent, mail, keep=True))
    if left.unknowns:
        yield from _uncertain(scope, world, ("unknown", "lost", "late"), "unknowns")
    if left.throttles:
        yield from _uncertain(scope, world, ("throttled",), "throttles")
    for late in world.cloud.late:
        rest = tuple(x for x in world.cloud.late if x != late)
        landed, _, _ = physics.call(
            world.with_(cloud=replace(world.cloud, late=rest)), scope.cluster, late.action
        )
        yield Step(f"{action_text(late.action)} lands late", "late", landed)


def _bus_faults(scope: Scope, world: World) -> Iterator[Step]:
    left = world.left
    for word in dict.fromkeys(world.bus):
        if left.copies and world.bus.count(word) == 1:
            spent = world.with_(left=replace(left, copies=left.copies - 1))
            label = f"{word.node} {word.state.value} reaches Baton, and will again"
            yield Step(label, "copy", _arrive(scope, spent, word))
        if left.losses:
            spent = world.with_(left=replace(left, losses=left.losses - 1))
            yield Step(f"{word.node} {word.state.value} is lost", "loss", _without(spent, word))


def _uncertain(scope: Scope, world: World, outcomes: tuple[str, ...], budget: str) -> Iterator[Step]:
    spent = world.with_(left=replace(world.left, **{budget: getattr(world.left, budget) - 1}))
    for driver in world.drivers:
        asked = request(scope.cluster, driver)
        if driver.wakes_at is None and isinstance(asked, Act):
            action = asked.actions[len(driver.done)]
            for outcome in outcomes:
                if outcome != "late" or not isinstance(action, Send):
                    yield _drive(scope, spent, driver, outcome=outcome)


# ------------------------------------------------------------------------- script, and time


def _script_waits(scope: Scope, world: World) -> bool:
    """Whether the script has a line that is to happen before time passes."""
    if world.played >= len(scope.happenings):
        return False
    line = scope.happenings[world.played]
    return line[0] != "settled" or is_done(scope, world, scripted=False)


def _script(scope: Scope, world: World, *, quiet: bool) -> Iterator[Step]:
    """The next line: at any moment; after `~` only when quiet; `settled` only once it is."""
    if world.played >= len(scope.happenings):
        return
    line = scope.happenings[world.played]
    played = world.with_(played=world.played + 1)
    if line[0] == "settled":
        if quiet and is_done(scope, world, scripted=False):
            yield Step("settled", "", played)
        return
    if line[0] == "~":
        if not quiet:
            return
        line = line[1:]
    yield Step(" ".join(line), "", happen(played, line))


def happen(world: World, line: tuple[str, ...]) -> World:
    """One line of a script: a word, or something that befalls a host."""
    name, what = line[0], line[1]
    if name == "stops":
        return world.with_(cloud=replace(world.cloud, sticks=what == "stick"))
    host = world.host(name)
    if what in ("MASTER", "BACKUP", "FAULT", "STOP"):
        changed = world.with_host(replace(host, vrrp=Vrrp(what)))
        return physics.publish(changed, name)
    befalls = {
        "off": lambda: physics.power_off(world, host),
        "hangs": lambda: world.with_host(replace(host, hung=True)),
        "thaws": lambda: world.with_host(replace(host, hung=False)),
        "boots": lambda: _reboot(world, host),
        "agent-dies": lambda: physics.publish(world.with_host(replace(host, agent=False)), name),
        "agent-hangs": lambda: world.with_host(replace(host, agent=False)),
        "agent-up": lambda: physics.publish(world.with_host(replace(host, agent=True)), name),
        "shuts-down": lambda: _shut_down(world, host),
    }
    return befalls[what]()


def _reboot(world: World, host: Host) -> World:
    """A reset: nothing is said, and the host boots again."""
    off = physics.power_off(world, host)
    return physics.boot(off, off.host(host.name))


def _shut_down(world: World, host: Host) -> World:
    """An orderly shutdown releases by itself and says so; the host boots again."""
    from node_hook import duty

    memory = duty.after_local_release(host.memory)
    host = replace(host, mounted=False, memory=memory, vrrp=Vrrp.STOP, acquiring=None)
    world = physics.publish(world.with_host(host), host.name)
    return physics.boot(world, world.host(host.name))


def _later(scope: Scope, world: World, kind: str) -> Iterator[Step]:
    """Time passes to the next moment at which something is due."""
    moments = [world.sweep_at]
    moments += [d.wakes_at for d in world.drivers if d.wakes_at is not None]
    moments += [h.next_beat for h in world.hosts if h.power is Power.RUNNING and not h.hung]
    moments += [h.boots_at for h in world.hosts if h.boots_at is not None]
    moments += [h.acquiring.command.deadline for h in world.hosts if h.acquiring]
    moments += [late.until for late in world.cloud.late]
    until = min(m for m in moments if m > world.now)
    if until - START > scope.horizon_seconds:
        if is_done(scope, world) or (scope.may_block and world.record.obstacle):
            return
        raise physics.Broken("L1", f"not settled after {scope.horizon_seconds:.0f} s")
    late = tuple(x for x in world.cloud.late if x.until > until)
    later = world.with_(now=until, cloud=replace(world.cloud, late=late))
    yield Step(f"{until - START:.1f} s", kind, _due(scope, later))


def _due(scope: Scope, world: World) -> World:
    """What is due at this moment: drivers wake, hosts boot, beat and elect, the sweep runs."""
    for driver in world.drivers:
        if driver.wakes_at is not None and driver.wakes_at <= world.now:
            awake = replace(driver, wakes_at=None)
            world = _told_reply(scope, world, awake, None)
    for host in world.hosts:
        world = _host_due(world, host)
    if scope.elects:
        world = elect(world)
    if world.sweep_at <= world.now:
        world = spawn(scope, world.with_(sweep_at=world.now + SWEEP_SECONDS))
    return world


def _host_due(world: World, host: Host) -> World:
    if host.acquiring and host.acquiring.command.deadline <= world.now and host.runs:
        world = physics.abandon(world, host)
        host = world.host(host.name)
    if host.boots_at is not None and host.boots_at <= world.now:
        world = world.with_host(replace(host, boots_at=None))
        host = world.host(host.name)
    if host.runs and host.next_beat <= world.now:
        vrrp = Vrrp.BACKUP if host.vrrp is Vrrp.FAULT else host.vrrp
        host = replace(host, next_beat=world.now + timing.HEARTBEAT_SECONDS, vrrp=vrrp)
        return physics.publish(world.with_host(host), host.name)
    return world


def elect(world: World) -> World:
    """Keepalived: the best backup becomes master if there is none; of two, the lower yields.

    The winner of a heal says nothing: it has been master all the time.
    """
    running = [h for h in world.hosts if h.runs and h.vrrp in (Vrrp.MASTER, Vrrp.BACKUP)]
    masters = [h for h in running if h.vrrp is Vrrp.MASTER]
    if not masters and running:
        best = max(running, key=lambda h: h.priority)
        return physics.publish(world.with_host(replace(best, vrrp=Vrrp.MASTER)), best.name)
    for loser in sorted(masters, key=lambda h: -h.priority)[1:]:
        world = physics.publish(world.with_host(replace(loser, vrrp=Vrrp.BACKUP)), loser.name)
    return world


__all__ = ["Scope", "Step", "begin", "is_done", "is_quiet", "moves", "volume_is_at"]
