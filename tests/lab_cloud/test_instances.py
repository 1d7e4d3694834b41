"""Instances take time to change state, refuse by state, and say what they do."""

from __future__ import annotations

from lab.cloud import Cloud
from lab.cloud.building import Net
from tests.lab_cloud.machines import Machines, Refused


def states_told(cloud: Cloud, instance: str) -> list[str]:
    return [
        event["detail"]["state"]
        for event, _ in cloud.bus.history
        if event["source"] == "aws.ec2" and event["detail"]["instance-id"] == instance
    ]


def test_a_life_goes_through_every_state_and_each_is_an_event(
    cloud: Cloud, machines: Machines, net: Net
) -> None:
    ec2 = cloud.client("ec2")
    node = cloud.launch(net)
    cloud.faults.stick("stop", node.id)
    answer = ec2.stop_instances(InstanceIds=[node.id])["StoppingInstances"][0]
    assert (answer["CurrentState"]["Name"], answer["PreviousState"]["Name"]) == ("stopping", "running")
    assert cloud.state(node.id) == "stopping"
    cloud.faults.unstick("stop", node.id)
    cloud.until(lambda: cloud.state(node.id) == "stopped", 30)
    cloud.faults.stick("start", node.id)
    ec2.start_instances(InstanceIds=[node.id])
    assert cloud.state(node.id) == "pending"
    cloud.faults.unstick("start", node.id)
    cloud.until(lambda: cloud.state(node.id) == "running", 30)
    ec2.terminate_instances(InstanceIds=[node.id])
    cloud.until(lambda: cloud.state(node.id) == "terminated", 30)
    assert states_told(cloud, node.id) == [
        *("pending", "running", "stopping", "stopped"),
        *("pending", "running", "shutting-down", "terminated"),
    ]
    assert machines.power == [(node.id, "off"), (node.id, "on"), (node.id, "pulled")]


def test_changes_are_refused_by_state(cloud: Cloud, net: Net, refused: Refused) -> None:
    ec2 = cloud.client("ec2")
    node = cloud.launch(net)
    assert ec2.start_instances(InstanceIds=[node.id])["StartingInstances"]
    cloud.faults.stick("stop", node.id)
    ec2.stop_instances(InstanceIds=[node.id])
    with refused("IncorrectInstanceState"):
        ec2.start_instances(InstanceIds=[node.id])
    cloud.faults.unstick("stop", node.id)
    cloud.until(lambda: cloud.state(node.id) == "stopped", 30)
    assert ec2.stop_instances(InstanceIds=[node.id])["StoppingInstances"]
    cloud.faults.stick("start", node.id)
    ec2.start_instances(InstanceIds=[node.id])
    with refused("IncorrectInstanceState"):
        ec2.stop_instances(InstanceIds=[node.id])
    ec2.terminate_instances(InstanceIds=[node.id])
    for change in (ec2.start_instances, ec2.stop_instances):
        with refused("IncorrectInstanceState"):
            change(InstanceIds=[node.id])
    with refused("InvalidInstanceID.NotFound"):
        ec2.stop_instances(InstanceIds=["i-00000000000000000"])


def test_stopped_is_said_only_when_the_machine_is_off(cloud: Cloud, machines: Machines, net: Net) -> None:
    node = cloud.launch(net)
    seen: list[str] = []
    machines.before_stop = lambda instance: seen.append(cloud.state(instance))
    cloud.client("ec2").stop_instances(InstanceIds=[node.id], Force=True, SkipOsShutdown=True)
    cloud.until(lambda: cloud.state(node.id) == "stopped", 30)
    assert seen == ["stopping"]


def test_a_stop_can_stick_with_the_machine_still_on(cloud: Cloud, machines: Machines, net: Net) -> None:
    node = cloud.launch(net)
    cloud.faults.stick("stop", node.id)
    cloud.client("ec2").stop_instances(InstanceIds=[node.id], Force=True)
    cloud.until(lambda: cloud.state(node.id) == "stopping", 30)
    assert not machines.power
    cloud.faults.unstick("stop", node.id)
    cloud.until(lambda: cloud.state(node.id) == "stopped", 30)


def test_a_forced_stop_overtakes_an_orderly_one(cloud: Cloud, machines: Machines, net: Net) -> None:
    node = cloud.launch(net)
    stop = cloud.client("ec2").stop_instances
    stop(InstanceIds=[node.id])
    stop(InstanceIds=[node.id], Force=True, SkipOsShutdown=True)
    cloud.until(lambda: cloud.state(node.id) == "stopped", 30)
    assert machines.power == [(node.id, "pulled")]


def test_a_crash_is_stopped_at_once(cloud: Cloud, machines: Machines, net: Net) -> None:
    node = cloud.launch(net)
    cloud.crash(node.id)
    assert cloud.state(node.id) == "stopped"
    assert states_told(cloud, node.id)[-1] == "stopped"
    assert machines.power == [(node.id, "pulled")]


def test_a_reboot_keeps_it_running(cloud: Cloud, machines: Machines, net: Net) -> None:
    node = cloud.launch(net)
    cloud.client("ec2").reboot_instances(InstanceIds=[node.id])
    cloud.until(lambda: machines.power == [(node.id, "off"), (node.id, "on")], 30)
    assert cloud.state(node.id) == "running"


def test_a_broken_machine_leaves_the_state_under_way_and_is_noted(
    cloud: Cloud, machines: Machines, net: Net
) -> None:
    node = cloud.launch(net)

    def broken(instance: str) -> None:
        raise OSError("the host does not answer")

    machines.before_stop = broken
    cloud.client("ec2").stop_instances(InstanceIds=[node.id], Force=True)
    cloud.until(lambda: bool(cloud.problems), 30)
    assert cloud.state(node.id) == "stopping"
    assert "the host does not answer" in cloud.problems.pop()
