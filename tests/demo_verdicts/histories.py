"""Histories made by hand, for verdicts to accept or to reject."""

from __future__ import annotations

from lab.demo.evidence import Delivery, Ec2, Evidence, Look, Mount, Write

ADDRESS = "10.9.0.100"
V, W = "vol-1", "vol-2"


def mount(node: str, volume: str = V, *, live: bool = True, boot: str = "boot") -> Mount:
    """A volume mounted on a node."""
    return Mount(node, f"{boot}-{node}", volume, f"/srv/{volume}", live)


def look(at: float, *mounts: Mount, master: str = "", epochs: dict[str, int] | None = None) -> Look:
    """What the kernel showed."""
    return Look(at, frozenset(mounts), {master: (ADDRESS,)} if master else {}, epochs or {})


def ec2(
    at: float, place: str | None, holder: str | None = None, state: str = "attached", **power: str
) -> Ec2:
    """EC2's records: both volumes on one node, or nowhere."""
    attached = (place, state) if place else None
    return Ec2(
        at, {"a": "running", "b": "running", **power}, {V: attached, W: attached}, {ADDRESS: holder or place}
    )


def history(*what: Look | Ec2 | Delivery | Write, kept: frozenset[int] | None = frozenset()) -> Evidence:
    """Evidence from its pieces, in the order of time."""
    return Evidence(
        volumes=(V, W),
        address=ADDRESS,
        looks=tuple(each for each in what if isinstance(each, Look)),
        records=tuple(each for each in what if isinstance(each, Ec2)),
        deliveries=tuple(each for each in what if isinstance(each, Delivery)),
        writes=tuple(each for each in what if isinstance(each, Write)),
        kept=kept,
        ended=max((each.at for each in what if isinstance(each, Look | Ec2 | Delivery)), default=0.0),
    )


def handover() -> Evidence:
    """A good hand-over from a to b, with every piece of it."""
    return history(
        ec2(0.0, "a"),
        look(0.0, mount("a"), mount("a", W), master="a", epochs={"a": 1, "b": 0}),
        look(1.0, mount("a"), mount("a", W), master="b", epochs={"a": 1, "b": 0}),
        Delivery(1.1, "a", "release", 2),
        look(1.5, master="b", epochs={"a": 2, "b": 0}),
        ec2(1.6, "a", "a", "detaching"),
        ec2(1.7, "a", "b", "detaching"),
        ec2(2.0, None, "b"),
        ec2(2.2, "b", "b", "attaching"),
        Delivery(2.3, "b", "acquire", 2),
        ec2(2.5, "b"),
        look(2.6, mount("b"), master="b", epochs={"a": 2, "b": 2}),
        look(2.7, mount("b"), mount("b", W), master="b", epochs={"a": 2, "b": 2}),
        Write(1, 0.1, 0.2),
        Write(2, 1.2, None),
        Write(3, 2.8, 2.9),
        kept=frozenset({1, 2, 3}),
    )
