"""What EC2's descriptions mean to Baton: raw answers to frozen views. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from chalicelib.model import (
    AddressView,
    Answer,
    Attached,
    Attachment,
    Cluster,
    InstanceView,
    Power,
    Record,
    VolumeView,
)

Raw: TypeAlias = dict[str, Any]

GONE_SECONDS: Final = 900.0
"""EC2 shows a terminated instance for about an hour. One that spoke this lately and is said not to
exist is a read that went back in time, or a fresh instance that not every server knows yet."""


@dataclass
class Sight:
    """What was seen in one look, for all clusters. A key that is absent was not seen; None
    stands for what EC2 says does not exist."""

    volumes: dict[str, Raw | None] = field(default_factory=dict)
    instances: dict[str, Raw | None] = field(default_factory=dict)
    members: list[Raw] | None = None
    """Interfaces of the nodes."""
    holders: list[Raw] | None = None
    """Interfaces that hold a service address, strangers' among them."""
    answers: dict[str, Answer] = field(default_factory=dict)
    ranges: dict[str, ipaddress.IPv4Network] = field(default_factory=dict)
    """Subnets' address ranges."""
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Images' device names."""


def volume_views(cluster: Cluster, sight: Sight) -> tuple[VolumeView, ...]:
    """The cluster's volumes that were seen."""
    seen = [(v, sight.volumes[v]) for v in cluster.volumes if v in sight.volumes]
    return tuple(
        VolumeView(volume, exists=False) if raw is None else VolumeView(volume, tuple(_attachments(raw)))
        for volume, raw in seen
    )


def _attachments(volume: Raw) -> Iterator[Attachment]:
    for raw in volume.get("Attachments", ()):
        if raw["State"] != "detached":
            state = Attached(raw["State"])
            yield Attachment(raw.get("InstanceId", ""), raw.get("Device", ""), state)


def instance_views(cluster: Cluster, record: Record, now: float, sight: Sight) -> tuple[InstanceView, ...]:
    """The cluster's instances that were seen."""
    return tuple(
        _instance_view(node, record, now, sight) for node in cluster.nodes if node in sight.instances
    )


def _instance_view(node: str, record: Record, now: float, sight: Sight) -> InstanceView:
    raw = sight.instances[node]
    if raw is None:
        return InstanceView(node, _power_of_missing(node, record, now, sight))
    names = [*devices_of(raw), *sight.images.get(raw.get("ImageId", ""), ())]
    return InstanceView(node, Power(raw["State"]["Name"]), tuple(sorted(set(names))))


def _power_of_missing(node: str, record: Record, now: float, sight: Sight) -> Power:
    """TERMINATED only if nothing contradicts: `off` is what lets Baton take a node's volumes."""
    word = record.word(node)
    spoke_lately = word is not None and word.said_at > now - GONE_SECONDS
    holds = any(
        attachment.get("InstanceId") == node
        for volume in sight.volumes.values()
        for attachment in (volume or {}).get("Attachments", ())
    )
    return Power.UNKNOWN if spoke_lately or holds else Power.TERMINATED


def devices_of(raw: Raw) -> list[str]:
    """Device names of an instance or an image."""
    names = [raw.get("RootDeviceName")]
    names += [mapping.get("DeviceName") for mapping in raw.get("BlockDeviceMappings", ())]
    return [name for name in names if name]


def address_views(cluster: Cluster, sight: Sight) -> tuple[AddressView, ...]:
    """The cluster's addresses; none of them if either half of the picture is missing."""
    if sight.members is None or sight.holders is None:
        return ()
    mine = [i for i in sight.members if _instance_of(i) in cluster.nodes]
    if not mine:
        return ()
    networks = {i.get("VpcId") for i in mine}
    # The same address may exist in other networks: those holders have nothing to do with ours.
    there = [i for i in (*mine, *sight.holders) if i.get("VpcId") in networks]
    return tuple(_address_view(address, mine, there, sight.ranges) for address in cluster.addresses)


def _address_view(
    address: str,
    mine: Sequence[Raw],
    there: Sequence[Raw],
    ranges: Mapping[str, ipaddress.IPv4Network],
) -> AddressView:
    ip = ipaddress.IPv4Address(address)
    fitting = [i for i in mine if i["SubnetId"] in ranges and ip in ranges[i["SubnetId"]]]
    targets: dict[str, str] = {}
    for interface in sorted(fitting, key=_device_index):
        targets.setdefault(_instance_of(interface), interface["NetworkInterfaceId"])
    holder = next((i for i in there if address in _addresses(i)), None)
    return AddressView(
        address,
        interface=holder["NetworkInterfaceId"] if holder else None,
        holder=_instance_of(holder) if holder else "",
        targets=tuple(sorted(targets.items())),
    )


def _instance_of(interface: Raw) -> str:
    return str(interface.get("Attachment", {}).get("InstanceId") or "")


def _device_index(interface: Raw) -> int:
    return int(interface.get("Attachment", {}).get("DeviceIndex", 0))


def _addresses(interface: Raw) -> list[str]:
    return [entry["PrivateIpAddress"] for entry in interface.get("PrivateIpAddresses", ())]
