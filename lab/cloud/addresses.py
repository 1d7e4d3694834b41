"""Secondary private addresses as EC2 has them.

moto ignores AllowReassignment and leaves the address on both interfaces (getmoto/moto#6147),
takes addresses outside the subnet, and finds no interface by a secondary address. EC2 moves
the address or refuses (EC2 API reference, AssignPrivateIpAddresses), all or nothing, and the
packets follow a moment later.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.ec2.models.elastic_network_interfaces import NetworkInterface

from lab.cloud.errors import Refused
from lab.cloud.world import Request, World


def assign(world: World, request: Request) -> Any:
    """AssignPrivateIpAddresses."""
    wanted = request.parameters
    interface = world.ec2.get_network_interface(wanted["NetworkInterfaceId"])
    addresses = list(wanted.get("PrivateIpAddresses") or [])
    if not addresses:
        return request.response.assign_private_ip_addresses()
    _may_hold(world, interface, addresses)
    holders = _holders(world, interface, addresses, bool(wanted.get("AllowReassignment")))
    for address, holder in holders.items():
        _drop(holder, address)
    mine = {item["PrivateIpAddress"] for item in interface.private_ip_addresses}
    for address in addresses:
        if address not in mine:
            item = {"Primary": False, "PrivateIpAddress": address}
            interface.private_ip_addresses.append(item)
    _follow(world, addresses)
    assigned = [{"PrivateIpAddress": address} for address in addresses]
    return {"NetworkInterfaceId": interface.id, "AssignedPrivateIpAddresses": assigned}


def unassign(world: World, request: Request) -> None:
    """UnassignPrivateIpAddresses."""
    wanted = request.parameters
    interface = world.ec2.get_network_interface(wanted["NetworkInterfaceId"])
    addresses = list(wanted.get("PrivateIpAddresses") or [])
    secondary = {
        item["PrivateIpAddress"] for item in interface.private_ip_addresses if not item.get("Primary")
    }
    for address in addresses:
        if address not in secondary:
            raise Refused(
                "InvalidParameterValue",
                f"Some of [{', '.join(addresses)}] are not assigned to interface {interface.id}",
            )
    for address in addresses:
        _drop(interface, address)
    _follow(world, addresses)


def drop_all(world: World, interface: NetworkInterface) -> None:
    """The interface is gone: so are its secondary addresses."""
    secondary = [
        str(item["PrivateIpAddress"]) for item in interface.private_ip_addresses if not item.get("Primary")
    ]
    for address in secondary:
        _drop(interface, address)
    _follow(world, secondary)


def holder_of(world: World, address: str) -> tuple[str | None, str | None]:
    """The interface and the instance that hold an address by EC2's record."""
    with world.lock:
        for interface in world.ec2.enis.values():
            for item in interface.private_ip_addresses:
                if item["PrivateIpAddress"] == address:
                    instance = interface.instance.id if interface.instance else None
                    return interface.id, instance
    return None, None


def _may_hold(world: World, interface: NetworkInterface, addresses: list[str]) -> None:
    network = ipaddress.ip_network(interface.subnet.cidr_block)
    reserved = {network[0], network[1], network[2], network[3], network[-1]}
    for address in addresses:
        if ipaddress.ip_address(address) not in network:
            raise Refused(
                "InvalidParameterValue",
                f"Address {address} does not fall within the subnet's address range",
            )
        if ipaddress.ip_address(address) in reserved:
            raise Refused(
                "InvalidParameterValue",
                f"Address {address} is in subnet's reserved address range",
            )
    held = {item["PrivateIpAddress"] for item in interface.private_ip_addresses}
    if len(held | set(addresses)) > world.settings.addresses_most:
        raise Refused(
            "PrivateIpAddressLimitExceeded",
            f"Number of private addresses will exceed limit on {interface.id}.",
        )


def _holders(
    world: World, target: NetworkInterface, addresses: list[str], allow: bool
) -> dict[str, NetworkInterface]:
    """Other interfaces that the addresses have to leave; refuses if one must not."""
    moves: dict[str, NetworkInterface] = {}
    refused: list[str] = []
    for interface in world.ec2.enis.values():
        if interface.vpc_id != target.vpc_id:
            continue
        for item in interface.private_ip_addresses:
            address = str(item["PrivateIpAddress"])
            if address not in addresses:
                continue
            if item.get("Primary"):
                refused.append(address)
            elif interface is not target:
                moves[address] = interface
                if not allow:
                    refused.append(address)
    if refused:
        raise Refused(
            "InvalidParameterValue",
            f"[{', '.join(sorted(refused))}] assigned, but move is not allowed.",
        )
    return moves


def _drop(interface: NetworkInterface, address: str) -> None:
    interface.private_ip_addresses[:] = [
        item for item in interface.private_ip_addresses if item["PrivateIpAddress"] != address
    ]


def _follow(world: World, addresses: list[str]) -> None:
    """Later, tell the fabric what is in the record *then*: two moves cannot overtake."""

    def follow() -> None:
        with world.fabric_lock:
            for address in addresses:
                world.machinery.moved(address, *holder_of(world, address))

    world.timeline.after(world.latencies.address, follow)
