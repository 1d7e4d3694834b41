"""The guarantees, each judged by what was seen from the outside. Pure functions over evidence.

Each text names the moment, so that the reader finds it in the timeline and in the logs. A verdict
counts what it looked at: one that never had anything to look at in a whole run is no proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from lab.demo.evidence import Ec2, Evidence, Look, Mount

BLIND_SECONDS = 3.0
"""The sampler writes twice a second even if nothing changes. Longer silence: it was not looking."""
TEXTS_MOST = 3
"""One violation shows in many looks: the first few tell the story."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a guarantee held. `checked` counts what was looked at; `broken` says what was seen."""

    name: str
    sentence: str
    checked: int
    broken: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing was seen that breaks it."""
        return not self.broken

    @property
    def text(self) -> str:
        """What to say of it."""
        if self.broken:
            return "; ".join(self.broken)
        return f"{self.checked} checked" if self.checked else "nothing to look at"


def one_mount(seen: Evidence) -> Verdict:
    """S1: at most one node has a volume mounted with a live device."""
    broken = []
    for look in seen.looks:
        for volume in seen.volumes:
            nodes = look.nodes(volume, live=True)
            if len(nodes) > 1:
                broken.append(f"{seen.moment(look.at)} {volume} was mounted on {' and '.join(sorted(nodes))}")
    broken += _blind(seen)
    return _verdict("S1", "one node has a volume mounted", len(seen.looks), broken)


def _blind(seen: Evidence) -> Iterator[str]:
    for early, late in pairwise(seen.looks):
        if late.at - early.at > BLIND_SECONDS:
            yield f"nobody looked at the hosts for {late.at - early.at:.1f} s, {seen.moment(early.at)}"


def stays_while_mounted(seen: Evidence) -> Verdict:
    """S2: a volume never leaves a node that has it mounted, unless EC2 says that node is off.

    A look that shows a mount is held against EC2's records of the moment the look began: a volume
    that is unmounted, then detached, is never seen mounted after its detach.
    """
    broken, checked = [], 0
    for look in seen.looks:
        record = seen.record(look.at)
        for mount in look.mounts:
            checked += 1
            if not record.is_off(mount.node) and record.place(mount.volume) != mount.node:
                broken.append(
                    f"{seen.moment(look.at)} {mount.node} had {mount.volume} mounted, and EC2 had it"
                    f" {'on ' + str(record.place(mount.volume)) if record.place(mount.volume) else 'nowhere'}"
                )
    return _verdict("S2", "a volume stays while it is mounted", checked, broken)


def epochs_grow(seen: Evidence) -> Verdict:
    """S4: a node that accepted an epoch never executes a command of an earlier one.

    The file on the node's disk never goes back, over reboots too; and a mount that appears was
    asked for by an Acquire that is no older than what the file held before.
    """
    broken, checked = [], 0
    highest: dict[str, int] = {}
    # What is mounted at the first look was mounted before there was anything to judge.
    mounts = seen.looks[0].mounts if seen.looks else frozenset()
    for look in seen.looks:
        for node in {mount.node for mount in look.mounts - mounts if mount.live}:
            checked += 1
            asked = [d.epoch for d in seen.deliveries if _is_acquire(d.verb, d.node, node, d.at, look.at)]
            if max(asked, default=0) < highest.get(node, 0):
                broken.append(
                    f"{seen.moment(look.at)} {node} mounted for epoch {max(asked, default=0)} or earlier,"
                    f" after it had executed {highest[node]}"
                )
        mounts = look.mounts
        for node, epoch in look.epochs.items():
            checked += 1
            if epoch < highest.get(node, 0):
                moment = seen.moment(look.at)
                broken.append(f"{moment} {node} went back from epoch {highest[node]} to {epoch}")
            highest[node] = max(epoch, highest.get(node, 0))
    return _verdict("S4", "no node executes an earlier epoch", checked, broken)


LOOK_SECONDS = 1.0
"""A look can take this long on a busy machine, so its mounts may be younger than its time."""


def _is_acquire(verb: str, to: str, node: str, at: float, seen_at: float) -> bool:
    return verb == "acquire" and to == node and at <= seen_at + LOOK_SECONDS


def address_follows(seen: Evidence) -> Verdict:
    """S10: the address reaches a node only after the previous owner released or was off.

    Nobody else still has, at the first look after the move, a mount that was there before it.
    """
    broken, checked = [], 0
    for before, after in pairwise(seen.records):
        new = after.holder.get(seen.address)
        if new is None or new == before.holder.get(seen.address):
            continue
        checked += 1
        old_mounts = seen.look(before.at).mounts
        later = next((look for look in seen.looks if look.at >= after.at), None)
        for mount in sorted(_still(old_mounts, later, after, new), key=lambda m: m.volume):
            broken.append(
                f"{seen.moment(after.at)} {seen.address} moved to {new}, and {mount.node} still had"
                f" {mount.volume} mounted"
            )
    return _verdict("S10", "the address moves after a release", checked, broken)


def _still(old: frozenset[Mount], look: Look | None, record: Ec2, new: str) -> Iterator[Mount]:
    for mount in look.mounts if look else ():
        known = {(m.node, m.boot, m.volume) for m in old}
        there = (mount.node, mount.boot, mount.volume) in known
        if there and mount.live and mount.node != new and not record.is_off(mount.node):
            yield mount


def nothing_lost(seen: Evidence) -> Verdict:
    """S14: every number that was acknowledged is in the ledger's files."""
    acknowledged = [write.number for write in seen.writes if write.acknowledged is not None]
    if seen.kept is None:
        broken = ["nobody serves the ledger's files: they could not be read"]
    else:
        lost = [number for number in acknowledged if number not in seen.kept]
        broken = [f"{len(lost)} acknowledged writes are lost: {lost[:10]}"] if lost else []
    return _verdict("S14", "no acknowledged write is lost", len(acknowledged), broken)


def settled(seen: Evidence) -> Verdict:
    """L1: in the end one node is MASTER, holds everything, and serves."""
    if not seen.looks or not seen.records:
        return Verdict("L1", "settled where keepalived is MASTER", 0)
    broken = list(unsettled(seen.looks[-1], seen.records[-1], seen.volumes, seen.address))
    broken += _unserved(seen)
    return _verdict("L1", "settled where keepalived is MASTER", 1, broken)


UNSERVED_SECONDS = 2.0
"""In the end the client is served, and not once in a while."""


def _unserved(seen: Evidence) -> Iterator[str]:
    last = max((w.acknowledged for w in seen.writes if w.acknowledged), default=0.0)
    if seen.ended - last > UNSERVED_SECONDS:
        since = f"for {seen.ended - last:.1f} s" if last else "at all"
        yield f"the client's writes are not acknowledged {since}"


def unsettled(look: Look, record: Ec2, volumes: tuple[str, ...], address: str) -> Iterator[str]:
    """What keeps the cluster from being settled, by the kernel's and EC2's word."""
    masters = look.masters(address)
    if len(masters) != 1:
        yield f"MASTER is {' and '.join(masters) or 'nobody'}"
        return
    owner = masters[0]
    if record.power.get(owner) != "running":
        yield f"{owner} is MASTER, and EC2 says that it is {record.power.get(owner)}"
    if record.holder.get(address) != owner:
        yield f"{owner} is MASTER, and EC2 has {address} on {record.holder.get(address) or 'nobody'}"
    for volume in volumes:
        if record.attached.get(volume) != (owner, "attached"):
            yield f"{owner} is MASTER, and {volume} is {_where(record.attached.get(volume))}"
        elif look.nodes(volume, live=True) != {owner}:
            nodes = " and ".join(sorted(look.nodes(volume, live=True))) or "nobody"
            yield f"{owner} is MASTER, and {volume} is mounted by {nodes}"


def _where(attachment: tuple[str, str] | None) -> str:
    return f"{attachment[1]} on {attachment[0]}" if attachment else "attached to nobody"


def _verdict(name: str, sentence: str, checked: int, broken: list[str]) -> Verdict:
    texts = broken[:TEXTS_MOST]
    if len(broken) > TEXTS_MOST:
        texts.append(f"and {len(broken) - TEXTS_MOST} more")
    return Verdict(name, sentence, checked, tuple(texts))


SAFETY = (one_mount, stays_while_mounted, epochs_grow, address_follows, nothing_lost)
ALL = (*SAFETY, settled)


def judge(seen: Evidence) -> tuple[Verdict, ...]:
    """Every guarantee, judged."""
    return tuple(verdict(seen) for verdict in ALL)
