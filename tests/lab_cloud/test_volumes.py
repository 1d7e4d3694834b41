"""EBS attachments go through their states and are refused as EC2 refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.cloud import Cloud
from lab.cloud.building import Net, Node
from tests.lab_cloud.machines import Machines, Refused


@pytest.fixture(scope="module")
def nodes(shared_cloud: Cloud, net: Net) -> tuple[Node, Node]:
    return shared_cloud.launch(net, "a"), shared_cloud.launch(net, "b")


@pytest.fixture
def ec2(cloud: Cloud) -> Any:
    return cloud.client("ec2")


def shown(ec2: Any, volume: str) -> str:
    """State of the attachment by DescribeVolumes; "" if there is none."""
    attachments = ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"]
    return attachments[0]["State"] if attachments else ""


def attached(cloud: Cloud, node: Node, device: str) -> str:
    volume = cloud.volume()
    cloud.client("ec2").attach_volume(VolumeId=volume, InstanceId=node.id, Device=device)
    cloud.until(lambda: cloud.attachment(volume) == (node.id, device, "attached"), 30)
    return volume


def test_attaching_takes_time_and_ends_with_the_device(
    cloud: Cloud, ec2: Any, machines: Machines, nodes: tuple[Node, Node]
) -> None:
    volume = cloud.volume()
    cloud.faults.stick("attach", volume)
    answer = ec2.attach_volume(VolumeId=volume, InstanceId=nodes[0].id, Device="/dev/sdf")
    assert answer["State"] == shown(ec2, volume) == "attaching"
    assert volume not in machines.devices[nodes[0].id]
    cloud.faults.unstick("attach", volume)
    cloud.until(lambda: shown(ec2, volume) == "attached", 30)
    assert machines.devices[nodes[0].id][volume] == "/dev/sdf"


def test_detaching_takes_time_and_ends_without_the_device(
    cloud: Cloud, ec2: Any, machines: Machines, nodes: tuple[Node, Node]
) -> None:
    volume = attached(cloud, nodes[0], "/dev/sdg")
    cloud.faults.stick("detach", volume)
    answer = ec2.detach_volume(VolumeId=volume, InstanceId=nodes[0].id)
    assert answer["State"] == shown(ec2, volume) == "detaching"
    cloud.faults.unstick("detach", volume)
    cloud.until(lambda: shown(ec2, volume) == "", 30)
    assert volume not in machines.devices[nodes[0].id]


def test_detach_works_without_an_instance(cloud: Cloud, ec2: Any, nodes: tuple[Node, Node]) -> None:
    volume = attached(cloud, nodes[0], "/dev/sdh")
    assert ec2.detach_volume(VolumeId=volume)["InstanceId"] == nodes[0].id


def test_a_mounted_volume_stays_busy_until_it_is_unmounted(
    cloud: Cloud, ec2: Any, machines: Machines, nodes: tuple[Node, Node]
) -> None:
    volume = attached(cloud, nodes[0], "/dev/sdi")
    machines.mounted.add(volume)
    ec2.detach_volume(VolumeId=volume)
    cloud.until(lambda: shown(ec2, volume) == "busy", 30)
    assert volume in machines.devices[nodes[0].id]
    machines.mounted.discard(volume)
    cloud.until(lambda: shown(ec2, volume) == "", 30)


def test_force_takes_a_busy_volume_away(
    cloud: Cloud, ec2: Any, machines: Machines, nodes: tuple[Node, Node]
) -> None:
    volume = attached(cloud, nodes[0], "/dev/sdj")
    machines.mounted.add(volume)
    ec2.detach_volume(VolumeId=volume)
    cloud.until(lambda: shown(ec2, volume) == "busy", 30)
    ec2.detach_volume(VolumeId=volume, Force=True)
    cloud.until(lambda: shown(ec2, volume) == "", 30)


def test_a_volume_in_use_is_refused(
    cloud: Cloud, ec2: Any, nodes: tuple[Node, Node], refused: Refused
) -> None:
    volume = attached(cloud, nodes[0], "/dev/sdk")
    for node in nodes:
        with refused("VolumeInUse"):
            ec2.attach_volume(VolumeId=volume, InstanceId=node.id, Device="/dev/sdl")


def test_a_taken_device_name_is_refused_even_the_root(
    cloud: Cloud, ec2: Any, nodes: tuple[Node, Node], refused: Refused
) -> None:
    attached(cloud, nodes[1], "/dev/sdk")
    for device in ("/dev/sdk", "/dev/xvda", "/dev/nonsense"):
        with refused("InvalidParameterValue"):
            ec2.attach_volume(VolumeId=cloud.volume(), InstanceId=nodes[1].id, Device=device)


def test_another_zone_is_refused(cloud: Cloud, ec2: Any, nodes: tuple[Node, Node], refused: Refused) -> None:
    with refused("InvalidVolume.ZoneMismatch"):
        ec2.attach_volume(VolumeId=cloud.volume("b"), InstanceId=nodes[0].id, Device="/dev/sdz")


def test_the_wrong_instance_or_device_is_refused(
    cloud: Cloud, ec2: Any, nodes: tuple[Node, Node], refused: Refused
) -> None:
    volume = attached(cloud, nodes[0], "/dev/sdm")
    with refused("InvalidAttachment.NotFound"):
        ec2.detach_volume(VolumeId=volume, InstanceId=nodes[1].id)
    with refused("InvalidAttachment.NotFound"):
        ec2.detach_volume(VolumeId=volume, Device="/dev/sdn")
    assert cloud.attachment(volume) == (nodes[0].id, "/dev/sdm", "attached")


def test_an_available_volume_cannot_be_detached(cloud: Cloud, ec2: Any, refused: Refused) -> None:
    with refused("IncorrectState"):
        ec2.detach_volume(VolumeId=cloud.volume())


def test_what_does_not_exist_is_said_so(
    cloud: Cloud, ec2: Any, nodes: tuple[Node, Node], refused: Refused
) -> None:
    with refused("InvalidVolume.NotFound"):
        ec2.detach_volume(VolumeId="vol-00000000000000000")
    with refused("InvalidInstanceID.NotFound"):
        ec2.attach_volume(VolumeId=cloud.volume(), InstanceId="i-00000000000000000", Device="/dev/sdf")


def test_the_root_of_a_running_instance_stays(ec2: Any, nodes: tuple[Node, Node], refused: Refused) -> None:
    found = ec2.describe_instances(InstanceIds=[nodes[0].id])["Reservations"][0]["Instances"][0]
    root = next(m for m in found["BlockDeviceMappings"] if m["DeviceName"] == "/dev/xvda")
    assert found["RootDeviceName"] == "/dev/xvda"
    with refused("OperationNotPermitted"):
        ec2.detach_volume(VolumeId=root["Ebs"]["VolumeId"])


def test_stopped_takes_volumes_and_gives_them_terminated_does_not(
    cloud: Cloud, ec2: Any, machines: Machines, net: Net, refused: Refused
) -> None:
    node = cloud.launch(net)
    volume = attached(cloud, node, "/dev/sdf")
    machines.mounted.add(volume)
    cloud.faults.stick("stop", node.id)
    ec2.stop_instances(InstanceIds=[node.id], Force=True)
    with refused("IncorrectState"):
        ec2.attach_volume(VolumeId=cloud.volume(), InstanceId=node.id, Device="/dev/sdg")
    cloud.faults.unstick("stop", node.id)
    cloud.until(lambda: cloud.state(node.id) == "stopped", 30)
    assert cloud.attachment(volume) == (node.id, "/dev/sdf", "attached")
    other = attached(cloud, node, "/dev/sdg")
    assert other not in machines.devices[node.id]
    ec2.detach_volume(VolumeId=volume, InstanceId=node.id)
    cloud.until(lambda: cloud.attachment(volume) is None, 30)
    ec2.start_instances(InstanceIds=[node.id])
    cloud.until(lambda: machines.devices[node.id] == {other: "/dev/sdg"}, 30)
    ec2.terminate_instances(InstanceIds=[node.id])
    cloud.until(lambda: cloud.state(node.id) == "terminated", 30)
    assert cloud.attachment(other) is None
    with refused("IncorrectState"):
        ec2.attach_volume(VolumeId=volume, InstanceId=node.id, Device="/dev/sdf")


def test_stuck_attachments_stay_under_way(cloud: Cloud, ec2: Any, nodes: tuple[Node, Node]) -> None:
    volume = cloud.volume()
    cloud.faults.stick("attach", volume)
    cloud.faults.stick("detach", volume)
    ec2.attach_volume(VolumeId=volume, InstanceId=nodes[0].id, Device="/dev/sdp")
    ec2.detach_volume(VolumeId=volume)
    assert shown(ec2, volume) == "detaching"
    cloud.faults.unstick("attach", volume)
    cloud.until(lambda: shown(ec2, volume) == "detaching", 30)
    cloud.faults.unstick("detach", volume)
    cloud.until(lambda: shown(ec2, volume) == "", 30)


def test_describe_instances_shows_detaching_where_volumes_are_busy(
    cloud: Cloud, ec2: Any, machines: Machines, nodes: tuple[Node, Node]
) -> None:
    volume = attached(cloud, nodes[0], "/dev/sdq")
    machines.mounted.add(volume)
    ec2.detach_volume(VolumeId=volume)
    cloud.until(lambda: shown(ec2, volume) == "busy", 30)
    found = ec2.describe_instances(InstanceIds=[nodes[0].id])["Reservations"][0]["Instances"][0]
    states = {m["Ebs"]["VolumeId"]: m["Ebs"]["Status"] for m in found["BlockDeviceMappings"]}
    assert states[volume] == "detaching"
    machines.mounted.clear()
    cloud.until(lambda: shown(ec2, volume) == "", 30)
