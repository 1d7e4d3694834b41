"""Secondary addresses move or are refused as on EC2, and the packets follow the record."""

from __future__ import annotations

from typing import Any

import pytest

from lab.cloud import Cloud
from lab.cloud.building import Net, Node
from tests.lab_cloud.machines import Machines, Refused


@pytest.fixture(scope="module")
def nodes(shared_cloud: Cloud, net: Net) -> tuple[Node, Node]:
    return (
        shared_cloud.launch(net, "a", address="10.9.0.11"),
        shared_cloud.launch(net, "b", address="10.9.0.12"),
    )


def assign(cloud: Cloud, node: Node, *addresses: str, **options: Any) -> Any:
    return cloud.client("ec2").assign_private_ip_addresses(
        NetworkInterfaceId=node.interface, PrivateIpAddresses=list(addresses), **options
    )


def test_an_address_moves_only_if_it_may(
    cloud: Cloud, machines: Machines, nodes: tuple[Node, Node], refused: Refused
) -> None:
    a, b = nodes
    assign(cloud, a, "10.9.0.100")
    cloud.until(lambda: machines.where.get("10.9.0.100") == a.id, 30)
    with refused("InvalidParameterValue"):
        assign(cloud, b, "10.9.0.100")
    assert cloud.holder("10.9.0.100") == a.id
    answer = assign(cloud, b, "10.9.0.100", AllowReassignment=True)
    assert answer["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": "10.9.0.100"}]
    assert cloud.holder("10.9.0.100") == b.id
    cloud.until(lambda: machines.where["10.9.0.100"] == b.id, 30)


def test_exactly_one_interface_is_found_by_a_secondary_address(
    cloud: Cloud, nodes: tuple[Node, Node]
) -> None:
    assign(cloud, nodes[0], "10.9.0.101")
    assign(cloud, nodes[1], "10.9.0.101", AllowReassignment=True)
    only = [{"Name": "addresses.private-ip-address", "Values": ["10.9.0.101"]}]
    found = cloud.client("ec2").describe_network_interfaces(Filters=only)["NetworkInterfaces"]
    assert [i["NetworkInterfaceId"] for i in found] == [nodes[1].interface]
    index = [{"Name": "attachment.device-index", "Values": ["0"]}]
    found = cloud.client("ec2").describe_network_interfaces(Filters=[*only, *index])
    assert len(found["NetworkInterfaces"]) == 1


def test_another_interfaces_primary_never_moves(
    cloud: Cloud, nodes: tuple[Node, Node], refused: Refused
) -> None:
    with refused("InvalidParameterValue"):
        assign(cloud, nodes[0], nodes[1].address, AllowReassignment=True)


@pytest.mark.parametrize("address", ["10.9.1.5", "192.168.0.1", "10.9.0.1", "10.9.0.255"])
def test_an_address_outside_the_subnet_or_reserved_is_refused(
    cloud: Cloud, nodes: tuple[Node, Node], address: str, refused: Refused
) -> None:
    with refused("InvalidParameterValue"):
        assign(cloud, nodes[0], address)


def test_several_addresses_move_all_or_none(cloud: Cloud, nodes: tuple[Node, Node], refused: Refused) -> None:
    assign(cloud, nodes[0], "10.9.0.110")
    with refused("InvalidParameterValue"):
        assign(cloud, nodes[1], "10.9.0.110", nodes[0].address, AllowReassignment=True)
    assert cloud.holder("10.9.0.110") == nodes[0].id


def test_assigning_what_it_has_changes_nothing(cloud: Cloud, nodes: tuple[Node, Node]) -> None:
    for _ in range(2):
        assign(cloud, nodes[0], "10.9.0.111")
    assert cloud.holder("10.9.0.111") == nodes[0].id


def test_too_many_addresses_are_refused(cloud: Cloud, net: Net, refused: Refused) -> None:
    node = cloud.launch(net)
    with refused("PrivateIpAddressLimitExceeded"):
        assign(cloud, node, *[f"10.9.0.{n}" for n in range(200, 216)])


def test_unassigning_frees_the_address(
    cloud: Cloud, machines: Machines, nodes: tuple[Node, Node], refused: Refused
) -> None:
    assign(cloud, nodes[0], "10.9.0.112")
    free = cloud.client("ec2").unassign_private_ip_addresses
    free(NetworkInterfaceId=nodes[0].interface, PrivateIpAddresses=["10.9.0.112"])
    assert cloud.holder("10.9.0.112") is None
    cloud.until(lambda: machines.where.get("10.9.0.112", "") is None, 30)
    with refused("InvalidParameterValue"):
        free(NetworkInterfaceId=nodes[0].interface, PrivateIpAddresses=["10.9.0.112"])


def test_a_stopped_instance_keeps_its_address_a_terminated_one_does_not(
    cloud: Cloud, machines: Machines, net: Net
) -> None:
    node = cloud.launch(net)
    assign(cloud, node, "10.9.0.113")
    cloud.client("ec2").stop_instances(InstanceIds=[node.id])
    cloud.until(lambda: cloud.state(node.id) == "stopped", 30)
    assert cloud.holder("10.9.0.113") == node.id
    cloud.client("ec2").terminate_instances(InstanceIds=[node.id])
    cloud.until(lambda: cloud.state(node.id) == "terminated", 30)
    assert cloud.holder("10.9.0.113") is None
    cloud.until(lambda: machines.where.get("10.9.0.113", "") is None, 30)
