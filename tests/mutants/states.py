"""States to decide in: a record and what EC2 shows, in as few words as they need.

Three nodes, one volume, one address. `served` is epoch 1, settled on a; in `moving` epoch 2 was just
granted to b, and a has released.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib.model import (
    AddressView,
    Answer,
    Asked,
    Attached,
    Attachment,
    Cluster,
    Code,
    Command,
    Decision,
    Held,
    InstanceView,
    Observation,
    Outcome,
    Power,
    Reason,
    Record,
    Result,
    Send,
    Verb,
    VolumeView,
    Vrrp,
    Word,
)

NOW = 1_000_000.0
CLUSTER = Cluster("c", ("a", "b", "c"), ("v",), ("10.0.0.9",))


def word(node: str, state: Vrrp = Vrrp.BACKUP, **more: object) -> Word:
    """A fresh word of a node."""
    said = Word(node, state, sequence=int(NOW * 1000) - 1000, boot=f"{node}/1", priority=100)
    return replace(said, **more)  # type: ignore[arg-type]


def served(*words: Word, **more: object) -> Record:
    """Epoch 1 is settled on a; other words as given."""
    said = {w.node: w for w in (word("a", Vrrp.MASTER, highest=1, serving=1), word("b"), word("c"), *words)}
    record = Record("c", words=tuple(said.values()), epoch=1, owner="a", highest_issued=1, settled=True)
    record = record.with_seat(replace(record.seat("a"), held=Held(1, "a/1")))
    return replace(record, **more)  # type: ignore[arg-type]


def moving(*words: Word, **more: object) -> Record:
    """Epoch 2 was just granted to b; a, the owner before, has released. Other words as given."""
    mine = word("b", Vrrp.MASTER)
    record = served(word("a", highest=2, released=1), mine, *words)
    record = replace(record, epoch=2, owner="b", previous="a", highest_issued=2, settled=False)
    return replace(record, granted_at=NOW - 1, counted_from=NOW - 1, **more)  # type: ignore[arg-type]


def seen(
    volume: str | None = "a",
    address: str | None = "a",
    state: Attached = Attached.ATTACHED,
    **power: Power,
) -> Observation:
    """EC2 shows the volume and the address at these nodes ("" for nowhere, None if it says nothing)."""
    running = {node: power.get(node, Power.RUNNING) for node in CLUSTER.nodes}
    instances = tuple(InstanceView(node, state) for node, state in running.items())
    at = (Attachment(volume, "/dev/sdf", state),) if volume else ()
    targets = tuple((node, f"eni-{node}") for node in CLUSTER.nodes)
    interface = f"eni-{address}" if address else None
    return Observation(
        NOW,
        instances,
        () if volume is None else (VolumeView("v", at),),
        () if address is None else (AddressView("10.0.0.9", interface, address, targets),),
    )


def sent(decision: Decision) -> set[tuple[Verb, str]]:
    """The commands that are sent, and to whom."""
    return {(a.command.verb, a.command.node) for a in decision.actions if isinstance(a, Send)}


def calls(decision: Decision) -> list[str]:
    """The calls to EC2 that are made."""
    return [type(action).__name__ for action in decision.actions if not isinstance(action, Send)]


def reason(decision: Decision) -> Reason | None:
    """Why the cluster is blocked, if it is."""
    return decision.record.obstacle.reason if decision.record.obstacle else None


def told(record: Record, node: str, verb: Verb, epoch: int, at: float, **more: object) -> Record:
    """A command went out to a node so many seconds ago, and had twenty; SSM took it."""
    said = record.word(node)
    boot = said.boot if said else ""
    command = Command(node, verb, epoch, boot, NOW - at + 20, volumes=("v",))
    asked = Asked(command, NOW - at, heard=said.sequence if said else 0, id=f"{node} {verb.value}")
    asked = replace(asked, **{"outcome": Outcome.DONE, **more})  # type: ignore[arg-type]
    seat = record.seat(node)
    others = [a for a in seat.asked if a.command.verb is not verb]
    order = list(Verb)
    return record.with_seat(
        replace(seat, asked=tuple(sorted((*others, asked), key=lambda a: order.index(a.command.verb))))
    )


def answered(
    record: Record, node: str, verb: Verb, epoch: int, at: float, after: float = 1.0, **more: object
) -> Record:
    """It answered so much later, with the word that it stands by."""
    said = record.word(node)
    result = Result.STATUS if verb is Verb.STATUS else Result.FAILED
    code = Code.NONE if verb is Verb.STATUS else Code.BUSY
    answer = Answer(result, code, said)
    return told(record, node, verb, epoch, at, answer=answer, answered_at=NOW - at + after, **more)


def ready(*words: Word, **more: object) -> Record:
    """As `moving`, and b has answered: it may acquire once the volume is there."""
    record = replace(moving(*words), granted_at=NOW - 30, counted_from=NOW - 30)
    return replace(answered(record, "b", Verb.STATUS, 2, at=29), **more)  # type: ignore[arg-type]


def unreleased(**more: object) -> Record:
    """As `ready`, but a serves epoch 1 still and has let its time pass: it is overdue."""
    record = ready(word("a", highest=1, serving=1))
    return told(record, "a", Verb.RELEASE, 2, at=25, **more)
