"""What a person needs to know of a cluster at 3 a.m., derived from record and observation. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chalicelib import notices
from chalicelib.facts import Facts
from chalicelib.model import Cluster, Observation, Reason, Record, Vrrp
from cli import words

UNKNOWN: Final = "?"
"""Where something is that EC2 did not show."""

CLEARS: Final[dict[Reason, str]] = {
    Reason.NO_CLAIMANT_ABLE: "A claimant that runs and whose SSM agent answers: start one, or its agent.",
    Reason.NOBODY_ANSWERS: "Any node's answer by SSM: look at the agents, the network, the SSM endpoint.",
    Reason.NO_FENCE: "`./baton confirm-fenced NODE` once you have made sure that the silent node is off.",
    Reason.STUCK_STOPPING: "EC2 finishing the stop, or `./baton confirm-fenced NODE` once you are sure.",
    Reason.FENCE_BUDGET: "Ten quiet minutes; ask first why so many nodes fall silent at once.",
    Reason.STRANGER: "Take the resource from the stranger, or correct the cluster's definition.",
    Reason.DAMAGED: "`fsck` by hand on the owner, where the volume is. Baton looks again by itself.",
    Reason.STUCK_VOLUME: "EC2 letting go of the volume; a support case if it lasts.",
    Reason.REFUSED: "Mend what AWS names: a permission, a quota, a parameter.",
    Reason.MISSING: "Create the resource again, or correct the cluster's definition.",
    Reason.CANNOT_ACQUIRE: "Mend what the nodes name: a mount, a unit, the health command.",
    Reason.NOBODY_CLAIMS: "A node becoming MASTER: look at keepalived and its health checks on the nodes.",
    Reason.ABSURD_EPOCH: "`node.py reset` on that node, if it is wrong and not Baton's table.",
    Reason.NO_HEIR: "A node that stays and becomes MASTER: it speaks as BACKUP, and both SSM agents are up.",
    Reason.BOOTING: "The fenced node being off, or its answer once it has booted.",
}


@dataclass(frozen=True, slots=True)
class NodePicture:
    """One node. `said_at` None: it has never spoken. `remarks`: what is odd about it."""

    node: str
    role: str
    says: str
    priority: int | None
    said_at: float | None
    fresh: bool
    serving: int | None
    agent: bool | None
    power: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResourcePicture:
    """A volume or address, and where EC2 shows it. `right`: it is at the owner."""

    name: str
    kind: str
    at: str
    state: str
    right: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A cluster: its standing, why, since when, what would clear it, and who has what."""

    cluster: str
    standing: str
    paused: bool
    epoch: int
    owner: str | None
    why: str
    since: float | None
    clears: str
    driven_by: str | None
    nodes: tuple[NodePicture, ...]
    resources: tuple[ResourcePicture, ...]
    remarks: tuple[str, ...]


def draw(cluster: Cluster, record: Record, seen: Observation) -> Picture:
    """The picture at the moment of the observation."""
    facts = Facts(cluster, record, seen)
    standing, why, since, clears = _standing(record)
    driving = record.lease is not None and record.lease.until > seen.at
    return Picture(
        cluster=cluster.name,
        standing=standing,
        paused=cluster.paused,
        epoch=record.epoch,
        owner=record.owner,
        why=why,
        since=since,
        clears=clears,
        driven_by=record.lease.holder if record.lease and driving else None,
        nodes=tuple(_node(facts, node) for node in cluster.nodes),
        resources=(*_volumes(facts), *_addresses(facts)),
        remarks=_remarks(facts),
    )


def _standing(record: Record) -> tuple[str, str, float | None, str]:
    """The standing in one word, why, since when, and what would clear it."""
    challenge = record.challenge
    if record.obstacle is not None:
        obstacle = record.obstacle
        why = f"{obstacle.reason}: {obstacle.text}"
        return "blocked", why, obstacle.since, CLEARS[obstacle.reason]
    if challenge is not None and challenge.refused_at is None:
        why = f"{challenge.claimant} says MASTER too; {challenge.owner} is asked whether it still is"
        return "contested", why, challenge.at, "The answer of either node, within seconds."
    if record.epoch == 0:
        return "new", "no node has been granted the resources yet", None, "The first MASTER word of a node."
    if record.settled:
        return "settled", record.because, dict(record.marks).get("settled", record.granted_at), ""
    step = record.marks[-1][0] if record.marks else "granted"
    why = f"{record.because}; so far: {step}"
    return "moving", why, record.granted_at, "The hand-over's own end, or the sweep within a minute."


def _remarks(facts: Facts) -> tuple[str, ...]:
    record = facts.record
    remarks = []
    if facts.cluster.paused:
        remarks.append("Paused: no new hand-over begins. `./baton resume` ends it.")
    if record.challenge is not None and record.challenge.refused_at is not None:
        remarks.append(f"{record.challenge.claimant} claims too; its claim stands refused.")
    if record.nobody_since is not None:
        remarks.append("No node says MASTER: keepalived has taken the address off every interface.")
    if record.settled and record.owner and not facts.claims(record.owner):
        remarks.append(f"{record.owner} serves, but does not say MASTER.")
    return tuple(remarks)


def _node(facts: Facts, node: str) -> NodePicture:
    word, owner = facts.record.word(node), facts.record.owner
    return NodePicture(
        node=node,
        role="owner" if node == owner else "",
        says=word.state.value if word else "nothing yet",
        priority=word.priority if word else None,
        said_at=word.said_at if word else None,
        fresh=facts.is_fresh(node),
        serving=word.serving if word else None,
        agent=word.agent if word else None,
        power=facts.seen.power(node).value,
        remarks=tuple(_odd(facts, node)),
    )


def _odd(facts: Facts, node: str) -> list[str]:
    word, seat = facts.record.word(node), facts.record.seat(node)
    odd = []
    if word is not None and not facts.is_fresh(node):
        odd.append("silent")
    if seat.silent_since is not None:
        odd.append("leaves commands unanswered")
    if word is not None and word.serving == 0:
        odd.append("mounted without an epoch")
    elif word is not None and word.serving is not None and node != facts.record.owner:
        odd.append("serves, but is not the owner")
    if word is not None and word.state is Vrrp.MASTER and not facts.claims(node):
        odd.append("its claim is spent")
    if seat.fenced_at is not None:
        odd.append("fenced by Baton")
    if (notice := notices.standing(facts, node)) is not None:
        odd.append(f"AWS takes it: {notice.cause.text}, {words.clock(notice.at)}")
    return odd


def _volumes(facts: Facts) -> list[ResourcePicture]:
    pictures = []
    for volume in facts.cluster.volumes:
        view = facts.seen.volume(volume)
        if view is None or not view.exists:
            at, state = (UNKNOWN, "not known") if view is None else ("", "does not exist")
            pictures.append(ResourcePicture(volume, "volume", at, state, False))
            continue
        at = ", ".join(attachment.node for attachment in view.attachments)
        state = ", ".join(attachment.state.value for attachment in view.attachments) or "attached to nobody"
        pictures.append(ResourcePicture(volume, "volume", at, state, at == facts.record.owner))
    return pictures


def _addresses(facts: Facts) -> list[ResourcePicture]:
    pictures = []
    for address in facts.cluster.addresses:
        view = facts.seen.address(address)
        if view is None:
            pictures.append(ResourcePicture(address, "address", UNKNOWN, "not known", False))
            continue
        state = view.interface or "on no interface"
        right = bool(view.holder) and view.holder == facts.record.owner
        pictures.append(ResourcePicture(address, "address", view.holder, state, right))
    return pictures
