"""What the script says, and what is due when time passes: keepalived, heartbeats, boots, sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from chalicelib import timing
from chalicelib.model import Attached, Power, Vrrp
from node_hook import duty
from tests.simulation import physics
from tests.simulation.drivers import spawn, told
from tests.simulation.effects import effect
from tests.simulation.pool import intern
from tests.simulation.scope import SWEEP_SECONDS, Scope, Step, is_done
from tests.simulation.world import START, At, Host, World


def script_waits(scope: Scope, world: World) -> bool:
    """Whether the script has a line that is to happen before time passes."""
    if world.played >= len(scope.happenings):
        return False
    line = scope.happenings[world.played]
    return line[0] not in ("settled", "?") or is_done(scope, world, scripted=False)


def script(scope: Scope, world: World, *, quiet: bool) -> Iterator[Step]:
    """The next line, before time passes; after `?` at any time until all is at rest, after `~` when
    nobody can move, and `settled` once all is at rest."""
    if world.played >= len(scope.happenings):
        return
    line = scope.happenings[world.played]
    played = world.with_(played=world.played + 1)
    if line[0] == "settled":
        if quiet and is_done(scope, world, scripted=False):
            yield Step("settled", "", lambda: played)
        return
    if line[0] == "~" and not quiet:
        return
    line = intern(line[1:] if line[0] in ("~", "?") else line)
    yield Step(" ".join(line), "", effect("hosts cloud bus", happen, played, line))


def happen(world: World, line: tuple[str, ...]) -> World:
    """One line of a script: a word, or something that befalls a host."""
    name, what = line[0], line[1]
    if name == "describes":
        shown = world.cloud.attachments if what == "freeze" else None
        return world.with_(cloud=replace(world.cloud, shown=shown))
    if name == "boots":
        return world.with_(cloud=replace(world.cloud, boot_seconds=float(line[2])))
    if name == "stops":
        return world.with_(cloud=replace(world.cloud, sticks=what == "stick"))
    if what == "at":
        return _put(world, name, line[2])
    host = world.host(name)
    if what == "ill":
        return world.with_host(replace(host, ill=line[2] if len(line) > 2 else ""))
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


def _put(world: World, thing: str, node: str) -> World:
    """Somebody else puts a volume or the address somewhere; `nowhere` takes it away."""
    cloud = world.cloud
    if thing == "address":
        return world.with_(cloud=replace(cloud, holder=None if node == "nowhere" else node))
    others = tuple(a for a in cloud.attachments if a.volume != thing)
    mine = () if node == "nowhere" else (At(thing, node, "/dev/sdf", Attached.ATTACHED),)
    return world.with_(cloud=replace(cloud, attachments=(*others, *mine)))


def _reboot(world: World, host: Host) -> World:
    """A reset: nothing is said, and the host boots again."""
    off = physics.power_off(world, host)
    return physics.boot(off, off.host(host.name))


def _shut_down(world: World, host: Host) -> World:
    """An orderly shutdown releases by itself and says so; the host boots again."""
    memory = duty.after_local_release(host.memory)
    host = replace(host, mounted=False, memory=memory, vrrp=Vrrp.STOP, acquiring=None)
    world = physics.publish(world.with_host(host), host.name)
    return physics.boot(world, world.host(host.name))


def later(scope: Scope, world: World, kind: str) -> Iterator[Step]:
    """Time passes to the next moment at which something is due."""
    moments = [world.sweep_at]
    moments += [at for d in world.drivers for at in (d.wakes_at, d.frozen_until) if at is not None]
    moments += [world.cloud.stale_until] if world.cloud.stale_until is not None else []
    moments += [h.next_beat for h in world.hosts if h.power is Power.RUNNING and not h.hung]
    moments += [h.boots_at for h in world.hosts if h.boots_at is not None]
    moments += [h.acquiring.command.deadline for h in world.hosts if h.acquiring]
    moments += [late.until for late in world.cloud.late]
    until = min(m for m in moments if m > world.now)
    if until - START > scope.horizon_seconds:
        if is_done(scope, world) or (scope.may_block and world.record.obstacle):
            return
        raise physics.Broken("L1", f"not settled after {scope.horizon_seconds:.0f} s")
    yield Step(f"{until - START:.1f} s", kind, partial(_pass, scope, world, until))


def _pass(scope: Scope, world: World, until: float) -> World:
    late = tuple(x for x in world.cloud.late if x.until > until)
    return due(scope, world.with_(now=until, cloud=replace(world.cloud, late=late)))


def due(scope: Scope, world: World) -> World:
    """What is due at this moment: drivers wake, hosts boot, beat and elect, the sweep runs."""
    if world.cloud.stale_until is not None and world.cloud.stale_until <= world.now:
        world = world.with_(cloud=replace(world.cloud, shown=None, stale_until=None))
    for driver in world.drivers:
        if driver.frozen_until is not None and driver.frozen_until <= world.now:
            world = world.with_driver(replace(driver, frozen_until=None))
    for driver in world.drivers:
        if driver.wakes_at is not None and driver.wakes_at <= world.now:
            awake = replace(driver, wakes_at=None)
            world = told(scope, world, awake, None)
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
