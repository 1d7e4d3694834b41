"""What happens in the world when something is done to it: EC2, SSM, hosts. Pure.

Each function takes a world and returns the next one; a broken guarantee raises `Broken`. The node's
decisions are `node_hook.duty`, the very file that nodes run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from chalicelib.model import (
    AddressView,
    Answer,
    Attach,
    Attached,
    Attachment,
    Cluster,
    Code,
    Detach,
    Fence,
    FencePolicy,
    InstanceView,
    Move,
    Mutation,
    Observation,
    Outcome,
    Power,
    Record,
    Result,
    Send,
    Start,
    Verb,
    VolumeView,
    Vrrp,
    Word,
)
from chalicelib.progress import Done
from node_hook import duty
from tests.simulation.world import At, Host, Mail, World


class Broken(AssertionError):
    """A guarantee does not hold: its name, and what was seen."""

    def __init__(self, guarantee: str, text: str) -> None:
        super().__init__(f"{guarantee}: {text}")
        self.guarantee = guarantee


def say(world: World, host: Host) -> tuple[World, Word]:
    """The host's word about itself, in its one sequence."""
    sequence = max(host.sequence + 1, int(world.now * 1000))
    host = replace(host, sequence=sequence)
    memory = host.memory
    word = Word(
        node=host.name,
        state=host.vrrp,
        sequence=sequence,
        boot=host.boot_id,
        priority=host.priority,
        highest=memory.highest,
        released=memory.released,
        serving=(memory.serving or 0) if host.mounted else None,
        agent=host.agent,
    )
    return world.with_host(host), word


def publish(world: World, name: str) -> World:
    """The host says how it is; the word is on the bus."""
    world, word = say(world, world.host(name))
    return world.with_(bus=(*world.bus, word))


# --------------------------------------------------------------------------------------- EC2


def wanted(record: Record) -> set[str | None]:
    """The commands whose answers the record waits for."""
    return {a.id for seat in record.seats for a in seat.asked if a.answer is None}


def observe(world: World, cluster: Cluster) -> Observation:
    """What EC2 and SSM say."""
    cloud = world.cloud
    asked = wanted(world.record)
    views = []
    shown = cloud.attachments if cloud.shown is None else cloud.shown
    for volume in cluster.volumes:
        mine = [a for a in shown if a.volume == volume]
        views.append(VolumeView(volume, tuple(Attachment(a.node, a.device, a.state) for a in mine)))
    targets = tuple((n, f"eni-{n}") for n in cluster.nodes)
    holder = cloud.holder
    address = AddressView(cluster.addresses[0], f"eni-{holder}" if holder else None, holder or "", targets)
    return Observation(
        at=world.now,
        instances=tuple(InstanceView(h.name, h.power, _devices(world, h.name)) for h in world.hosts),
        volumes=tuple(views),
        addresses=(address,),
        answers=tuple(pair for pair in cloud.answers if pair[0] in asked),
    )


def _devices(world: World, node: str) -> tuple[str, ...]:
    return tuple(sorted({a.device for a in world.cloud.attachments if a.node == node}))


def call(world: World, cluster: Cluster, action: Mutation) -> tuple[World, Outcome, str]:
    """A call reaches EC2, which does it or refuses it as EC2 does."""
    if isinstance(action, Detach):
        return _detach(world, cluster, action)
    if isinstance(action, Attach):
        return _attach(world, action)
    if isinstance(action, Move):
        return _move(world, action)
    if isinstance(action, Fence):
        return _stop(world, action)
    return _start(world, action)


def _detach(world: World, cluster: Cluster, action: Detach) -> tuple[World, Outcome, str]:
    at = next((a for a in world.cloud.attachments if a.volume == action.volume), None)
    if at is None:
        return world, Outcome.DONE, "IncorrectState"
    if at.node != action.node:
        return world, Outcome.DONE, "InvalidAttachment.NotFound"
    host = world.host(action.node)
    may_force = action.force and cluster.fence is FencePolicy.FORCE_DETACH
    if action.force and not may_force and not host.power.is_off:
        raise Broken("S12", f"{action.volume} was forced off {host.name}, which is on")
    if host.mounted and not host.power.is_off and not may_force:
        raise Broken("S2", f"{action.volume} was taken off {host.name}, which has it mounted")
    others = tuple(a for a in world.cloud.attachments if a != at)
    if action.force:  # flushes nothing and waits for nobody
        return world.with_(cloud=replace(world.cloud, attachments=others)), Outcome.DONE, ""
    going = at._replace(state=Attached.DETACHING)
    return world.with_(cloud=replace(world.cloud, attachments=(*others, going))), Outcome.DONE, ""


def _attach(world: World, action: Attach) -> tuple[World, Outcome, str]:
    if world.host(action.node).power not in (Power.RUNNING, Power.STOPPED):
        return world, Outcome.NOT_YET, "IncorrectState"
    if any(a.volume == action.volume for a in world.cloud.attachments):
        return world, Outcome.NOT_YET, "VolumeInUse"
    if action.device in _devices(world, action.node):
        return world, Outcome.REFUSED, "device-taken"
    at = At(action.volume, action.node, action.device, Attached.ATTACHING)
    attachments = tuple(sorted((*world.cloud.attachments, at)))
    return world.with_(cloud=replace(world.cloud, attachments=attachments)), Outcome.DONE, ""


def _move(world: World, action: Move) -> tuple[World, Outcome, str]:
    holder = world.cloud.holder
    if holder is not None and holder != action.node:
        host = world.host(holder)
        has_device = any(a.node == holder for a in world.cloud.attachments)
        if host.mounted and has_device and not host.power.is_off:
            raise Broken("S10", f"the address left {holder}, which serves")
    return world.with_(cloud=replace(world.cloud, holder=action.node)), Outcome.DONE, ""


def _stop(world: World, action: Fence) -> tuple[World, Outcome, str]:
    host = world.host(action.node)
    if host.power.is_off:
        return world, Outcome.DONE, ""
    return world.with_host(replace(host, power=Power.STOPPING)), Outcome.DONE, ""


def _start(world: World, action: Start) -> tuple[World, Outcome, str]:
    host = world.host(action.node)
    if host.power is Power.RUNNING:
        return world, Outcome.DONE, ""
    if host.power is not Power.STOPPED:
        return world, Outcome.NOT_YET, "IncorrectInstanceState"
    return boot(world, host), Outcome.DONE, ""


def power_off(world: World, host: Host) -> World:
    """All that runs on a host is gone; what it has on disk stays."""
    off = replace(
        host,
        power=Power.STOPPED,
        hung=False,
        mounted=False,
        acquiring=None,
        boots_at=None,
        memory=replace(host.memory, serving=None),
    )
    return world.with_host(off)


def boot(world: World, host: Host) -> World:
    """EC2 says running at once; the host says its first word some seconds later."""
    new = replace(
        host,
        power=Power.RUNNING,
        boot=host.boot + 1,
        vrrp=Vrrp.BACKUP,
        hung=False,
        agent=True,
        boots_at=world.now + world.cloud.boot_seconds,
        next_beat=world.now + world.cloud.boot_seconds,
    )
    return world.with_host(new)


# --------------------------------------------------------------------------------------- SSM


def send(world: World, action: Send) -> tuple[World, str | None, Outcome]:
    """A command is put into SSM's mail, if the node has an agent that ever registered."""
    known, command = _known_ids(world), action.command
    order = f"{command.verb.value} {command.epoch} to {command.node} until {command.deadline:.3f}"
    id_ = next(id_ for n in count(1) if (id_ := f"{order} ({n})") not in known)
    mail = (*world.cloud.mail, Mail(id_, command))
    answers = tuple(pair for pair in world.cloud.answers if pair[0] != id_)
    return world.with_(cloud=replace(world.cloud, mail=mail, answers=answers)), id_, Outcome.DONE


def _known_ids(world: World) -> set[str | None]:
    """The ids of commands that somebody still waits for or carries out: any other is as good as new."""
    held = [driver.ends[2] for driver in world.drivers if driver.ends]
    ids = {mail.id for mail in world.cloud.mail}
    ids |= {host.acquiring.id for host in world.hosts if host.acquiring}
    return ids.union(*map(wanted, (world.record, *held)), (done.id for done in noted(world)))


def noted(world: World) -> Iterator[Done]:
    """Outcomes that drivers are about to note."""
    for driver in world.drivers:
        yield from driver.done
        for reply in driver.replies:
            if isinstance(reply, tuple):
                yield from (done for done in reply if isinstance(done, Done))


def deliver(world: World, mail: Mail) -> World:
    """A node's agent runs a command."""
    left = tuple(m for m in world.cloud.mail if m.id != mail.id)
    return deliver_twice(world.with_(cloud=replace(world.cloud, mail=left)), mail)


def deliver_twice(world: World, mail: Mail) -> World:
    """A node's agent runs a command, and will run it again."""
    host, command = world.host(mail.command.node), mail.command
    order = duty.Order(
        command.verb.value, command.epoch, command.boot, command.deadline, command.unless_master
    )
    master = host.vrrp is Vrrp.MASTER
    verdict = duty.judge(order, host.memory, boot=host.boot_id, now=world.now, master=master)
    if isinstance(verdict, duty.Refusal):
        return reply(world, mail, Result(verdict.result), Code(verdict.code))
    if command.verb is Verb.STATUS:
        return reply(world, mail, Result.STATUS)
    if command.verb is Verb.HANDOVER and not master:
        return reply(world, mail, Result.REFUSED)
    if command.verb is Verb.HANDOVER:  # its track file makes keepalived give up mastership
        world = world.with_host(replace(host, vrrp=Vrrp.FAULT))
        return reply(world, mail, Result.RELEASED)
    host = replace(host, memory=verdict.memory)
    if command.verb is Verb.RELEASE:
        return _release(world, host, mail, order)
    return world.with_host(replace(host, acquiring=mail))


def _executed(host: Host, epoch: int) -> Host:
    if epoch < host.executed:
        raise Broken("S4", f"{host.name} executed epoch {epoch} after epoch {host.executed}")
    return replace(host, executed=epoch)


def _release(world: World, host: Host, mail: Mail, order: duty.Order) -> World:
    host = _executed(host, order.epoch)
    host = replace(host, mounted=False, memory=duty.after_release(order, host.memory))
    return reply(world.with_host(host), mail, Result.RELEASED)


def mount(world: World, host: Host) -> World:
    """An Acquire whose device has come asks once more, and mounts."""
    mail = host.acquiring
    if mail is None:
        raise ValueError("no Acquire waits here")
    order = duty.Order("acquire", mail.command.epoch, mail.command.boot, mail.command.deadline)
    host = replace(host, acquiring=None)
    if refusal := duty.may_mount(order, host.memory):
        return reply(world.with_host(host), mail, Result.REFUSED, Code(refusal.code))
    if host.ill:
        fault = replace(host, vrrp=Vrrp.FAULT)
        return reply(world.with_host(fault), mail, Result.FAILED, Code(host.ill))
    host = _executed(host, order.epoch)
    host = replace(host, mounted=True, memory=duty.after_acquire(order, host.memory))
    return reply(world.with_host(host), mail, Result.ACQUIRED)


def abandon(world: World, host: Host) -> World:
    """An Acquire whose device never came fails, and the node gives up mastership."""
    mail = host.acquiring
    if mail is None:
        raise ValueError("no Acquire waits here")
    host = replace(host, acquiring=None, vrrp=Vrrp.FAULT)
    return reply(world.with_host(host), mail, Result.FAILED, Code.NO_DEVICE)


def reply(world: World, mail: Mail, result: Result, code: Code = Code.NONE) -> World:
    """The answer, with the word that it carries; the word is published too."""
    world, word = say(world, world.host(mail.command.node))
    answer = Answer(result, code, word)
    answers = (*(p for p in world.cloud.answers if p[0] != mail.id), (mail.id, answer))
    return world.with_(cloud=replace(world.cloud, answers=answers), bus=(*world.bus, word))


def check(world: World) -> None:
    """The guarantees that any single state shows."""
    live = {a.node for a in world.cloud.attachments if a.state is not Attached.ATTACHING}
    mounted = [h.name for h in world.hosts if h.mounted and not h.power.is_off and h.name in live]
    if len(mounted) > 1:
        raise Broken("S1", f"mounted on {' and '.join(mounted)}")
