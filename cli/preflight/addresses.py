"""Checks of the service addresses."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from cli.preflight.facts import Facts, Finding, Raw, Severity, interfaces_of


def exist(facts: Facts) -> Iterator[Finding]:
    """VRRP elects for an address: keepalived takes no instance without one."""
    if not facts.addresses:
        yield Finding(
            "address",
            str(facts.document["name"]),
            "the cluster has no service address, and keepalived elects no master without one",
            "Give it an address of the nodes' subnet, even if no client uses it.",
        )


def have_a_target(facts: Facts) -> Iterator[Finding]:
    """Each node has a tagged interface in the address's own subnet."""
    for address in facts.addresses:
        subnet = _subnet_of(facts, address)
        if subnet is None:
            ranges = ", ".join(s["CidrBlock"] for s in facts.subnets.values())
            yield Finding(
                "subnet",
                address,
                f"the address is in none of the nodes' subnets ({ranges})",
                "Choose an address of the nodes' subnet.",
            )
            continue
        for node, instance in facts.present.items():
            yield from _target(facts, node, instance, subnet, address)


def _target(facts: Facts, node: str, instance: Raw, subnet: str, address: str) -> Iterator[Finding]:
    ours = [i for i in interfaces_of(instance) if i.get("SubnetId") == subnet]
    if not ours:
        yield Finding(
            "subnet",
            node,
            f"the node has no interface in {subnet}, where {address} belongs",
            "Attach a network interface of that subnet to the node.",
        )
        return
    known = {i["NetworkInterfaceId"]: i for i in facts.interfaces}
    interface = known.get(ours[0]["NetworkInterfaceId"], ours[0])
    if not facts.is_tagged(interface):
        name = interface["NetworkInterfaceId"]
        yield Finding(
            "tags",
            name,
            f"the interface of {node} lacks Baton's tags, so IAM refuses to move the address to it",
            facts.tag_command.replace("IDS", name),
        )


def belong_to_nobody_else(facts: Facts) -> Iterator[Finding]:
    """Baton takes an address from no stranger, and no primary address from anybody."""
    for interface in facts.interfaces:
        holder = interface.get("Attachment", {}).get("InstanceId", "")
        name = interface["NetworkInterfaceId"]
        for private in interface.get("PrivateIpAddresses", []):
            address = private["PrivateIpAddress"]
            if address not in facts.addresses:
                continue
            if private.get("Primary"):
                yield Finding(
                    "stranger",
                    address,
                    f"it is the primary address of {name}, which cannot be moved",
                    "Choose another address, and reserve it.",
                )
            elif holder not in facts.nodes:
                yield Finding(
                    "stranger",
                    address,
                    f"it is held by {name} ({holder or 'attached to nothing'}), which is no node's",
                    f"aws ec2 unassign-private-ip-addresses --network-interface-id {name}"
                    f" --private-ip-addresses {address}",
                )


def are_reserved(facts: Facts) -> Iterator[Finding]:
    """EC2 gives an address that nobody holds for a moment to any new instance of the subnet."""
    for address in facts.addresses:
        subnet = _subnet_of(facts, address)
        if subnet is None or subnet not in facts.reservations:
            continue
        ranges = [ip_network(r["Cidr"]) for r in facts.reservations.get(subnet, [])]
        if not any(ip_address(address) in network for network in ranges):
            yield Finding(
                "reservation",
                address,
                f"it is not reserved in {subnet}: EC2 may give it to a stranger while it is free",
                f"aws ec2 create-subnet-cidr-reservation --subnet-id {subnet}"
                f" --cidr {address}/32 --reservation-type explicit",
                Severity.WARNING,
            )


def find_a_slot(facts: Facts) -> Iterator[Finding]:
    """Each node's interface has room for all of the cluster's addresses."""
    for node, instance in facts.present.items():
        info = facts.types.get(str(instance.get("InstanceType")), {})
        most = info.get("NetworkInfo", {}).get("Ipv4AddressesPerInterface")
        for interface in interfaces_of(instance):
            wanted = {a for a in facts.addresses if _subnet_of(facts, a) == interface["SubnetId"]}
            held = {p["PrivateIpAddress"] for p in interface.get("PrivateIpAddresses", [])}
            if most and wanted and len(held | wanted) > int(most):
                yield Finding(
                    "slots",
                    node,
                    f"{interface['NetworkInterfaceId']} can hold {most} addresses and would need"
                    f" {len(held | wanted)}",
                    "Take secondary addresses away from it, or use a larger instance type.",
                )


def _subnet_of(facts: Facts, address: str) -> str | None:
    """The nodes' subnet that an address belongs to."""
    for name, subnet in facts.subnets.items():
        if ip_address(address) in ip_network(subnet["CidrBlock"]):
            return name
    return None


CHECKS: Final = (exist, have_a_target, belong_to_nobody_else, are_reserved, find_a_slot)
