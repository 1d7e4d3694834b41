"""Run Command delivers late, lost or twice, and says what the agent says, when it says it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from lab.cloud import Cloud, Delivery
from lab.cloud.building import Net, Node
from tests.lab_cloud.machines import Machines, Refused

DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {
        "action": {"type": "String", "allowedValues": ["release", "acquire"]},
        "cluster": {"type": "String", "allowedPattern": "^[a-z]+$"},
        "anyway": {"type": "String", "default": "false", "allowedValues": ["true", "false"]},
        "open": {"type": "String", "default": "x", "allowedPattern": "[a-z]"},
    },
    "mainSteps": [
        {
            "name": "run",
            "action": "aws:runShellScript",
            "inputs": {"runCommand": ["true"], "timeoutSeconds": "60"},
        }
    ],
}
GIVEN = {"action": ["release"], "cluster": ["orders"]}


@pytest.fixture(scope="module")
def node(shared_cloud: Cloud, net: Net) -> Node:
    content = json.dumps(DOCUMENT)
    make = shared_cloud.client("ssm").create_document
    make(Name="work", Content=content, DocumentType="Command", DocumentFormat="JSON")
    return shared_cloud.launch(net, "a")


@pytest.fixture
def ssm(cloud: Cloud) -> Any:
    return cloud.client("ssm")


def send(ssm: Any, node: Node, **options: Any) -> str:
    given = {"DocumentName": "work", "Parameters": GIVEN, **options}
    return str(ssm.send_command(InstanceIds=[node.id], **given)["Command"]["CommandId"])


def status(ssm: Any, command: str, node: Node) -> str:
    """By GetCommandInvocation; "" while there is no invocation."""
    try:
        answer = ssm.get_command_invocation(CommandId=command, InstanceId=node.id)
    except ssm.exceptions.InvocationDoesNotExist:
        return ""
    return str(answer["Status"])


def test_a_command_goes_through_its_states(cloud: Cloud, ssm: Any, machines: Machines, node: Node) -> None:
    machines.agent = lambda instance, delivery: None
    cloud.set_latencies(replace(cloud.latencies, ssm_visible=3.0))
    command = send(ssm, node)
    assert status(ssm, command, node) == ""
    cloud.until(lambda: status(ssm, command, node) == "InProgress", 30)
    [(instance, delivery)] = machines.deliveries
    assert instance == node.id
    assert delivery.parameters == {**GIVEN, "anyway": ["false"], "open": ["x"]}
    assert delivery.document_content["mainSteps"][0]["name"] == "run"
    delivery.report("Failed", 6, "out\n", "err\n")
    cloud.until(lambda: status(ssm, command, node) == "Failed", 30)
    answer = ssm.get_command_invocation(CommandId=command, InstanceId=node.id)
    assert answer["ResponseCode"] == 6
    assert answer["StandardOutputContent"] == "out\n"
    assert answer["StandardErrorContent"] == "err\n"
    told = [e["detail"]["status"] for e, _ in cloud.bus.history if e["source"] == "aws.ssm"]
    assert told[-3:] == ["Pending", "InProgress", "Failed"]


def test_output_is_cut(cloud: Cloud, ssm: Any, machines: Machines, node: Node) -> None:
    machines.agent = lambda _, delivery: delivery.report("Success", 0, "x" * 30_000, "y" * 9_000)
    command = send(ssm, node)
    cloud.until(lambda: status(ssm, command, node) == "Success", 30)
    answer = ssm.get_command_invocation(CommandId=command, InstanceId=node.id)
    assert len(answer["StandardOutputContent"]) == 24_000
    assert len(answer["StandardErrorContent"]) == 8_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": ["format"], "cluster": ["orders"]},
        {"action": ["release"], "cluster": ["orders; reboot"]},
        {"action": ["release"]},
        {"action": ["release", "acquire"], "cluster": ["orders"]},
        {**GIVEN, "extra": ["x"]},
    ],
)
def test_parameters_are_checked(ssm: Any, node: Node, wrong: dict[str, list[str]], refused: Refused) -> None:
    with refused("InvalidParameters"):
        send(ssm, node, Parameters=wrong)


def test_a_pattern_without_anchors_is_seen_to_let_everything_through(ssm: Any, node: Node) -> None:
    assert send(ssm, node, Parameters={**GIVEN, "open": ["x; reboot"]})


def test_an_unknown_document_is_refused(ssm: Any, node: Node, refused: Refused) -> None:
    with refused("InvalidDocument"):
        send(ssm, node, DocumentName="no-such-document")


def test_only_instances_that_ssm_knows_take_commands(
    cloud: Cloud, ssm: Any, net: Net, refused: Refused
) -> None:
    for unknown in (cloud.launch(net, profile=None), Node("i-00000000000000000", "", "", "", "")):
        with refused("InvalidInstanceId"):
            send(ssm, unknown)
    gone = cloud.launch(net)
    cloud.client("ec2").terminate_instances(InstanceIds=[gone.id])
    with refused("InvalidInstanceId"):
        send(ssm, gone)


def test_a_stopped_instance_gets_the_command_when_it_boots(
    cloud: Cloud, ssm: Any, machines: Machines, net: Net
) -> None:
    node = cloud.launch(net)
    cloud.crash(node.id)
    command = send(ssm, node)
    time.sleep(0.2)
    assert (status(ssm, command, node), machines.deliveries) == ("Pending", [])
    cloud.client("ec2").start_instances(InstanceIds=[node.id])
    cloud.until(lambda: status(ssm, command, node) == "Success", 30)


def test_an_agent_that_is_down_leaves_it_pending(
    cloud: Cloud, ssm: Any, machines: Machines, node: Node
) -> None:
    machines.reachable = False
    command = send(ssm, node)
    time.sleep(0.3)
    assert status(ssm, command, node) == "Pending"
    machines.reachable = True
    cloud.until(lambda: status(ssm, command, node) == "Success", 30)


def test_a_pending_command_can_be_cancelled_and_never_runs(
    cloud: Cloud, ssm: Any, machines: Machines, node: Node
) -> None:
    machines.reachable = False
    command = send(ssm, node)
    time.sleep(0.2)
    ssm.cancel_command(CommandId=command)
    machines.reachable = True
    assert status(ssm, command, node) == "Cancelled"
    time.sleep(0.7)
    assert machines.deliveries == []


def test_a_lost_report_leaves_it_in_progress_though_it_ran(
    cloud: Cloud, ssm: Any, machines: Machines, node: Node
) -> None:
    cloud.faults.ssm_lost(instance=node.id)
    command = send(ssm, node)
    cloud.until(lambda: status(ssm, command, node) == "InProgress", 30)
    assert len(machines.deliveries) == 1
    time.sleep(0.2)
    assert status(ssm, command, node) == "InProgress"


def test_a_late_report_is_late(cloud: Cloud, ssm: Any, machines: Machines, node: Node) -> None:
    cloud.faults.ssm_late(0.5)
    began = time.monotonic()
    command = send(ssm, node)
    cloud.until(lambda: status(ssm, command, node) == "Success", 30)
    assert time.monotonic() - began > 0.5


def test_twice_runs_twice_and_undelivered_never(
    cloud: Cloud, ssm: Any, machines: Machines, node: Node
) -> None:
    cloud.faults.ssm_twice(seconds=0.1)
    send(ssm, node)
    cloud.until(lambda: len(machines.deliveries) == 2, 30)
    cloud.faults.ssm_undelivered()
    command = send(ssm, node)
    time.sleep(0.3)
    assert status(ssm, command, node) == "Pending"
    assert len(machines.deliveries) == 2


def test_invocations_and_commands_are_listed(cloud: Cloud, ssm: Any, node: Node) -> None:
    command = send(ssm, node, Comment="epoch 7")
    cloud.until(lambda: status(ssm, command, node) == "Success", 30)
    listed = ssm.list_command_invocations(CommandId=command, Details=True)["CommandInvocations"]
    assert [(i["InstanceId"], i["Status"], i["Comment"]) for i in listed] == [(node.id, "Success", "epoch 7")]
    assert listed[0]["CommandPlugins"][0]["ResponseCode"] == 0
    everything = ssm.list_command_invocations(InstanceId=node.id)["CommandInvocations"]
    assert everything[0]["CommandId"] == command
    assert ssm.list_commands(CommandId=command)["Commands"][0]["CompletedCount"] == 1


def test_managed_instances_are_listed_with_their_ping(cloud: Cloud, ssm: Any, net: Net) -> None:
    node = cloud.launch(net)
    only = [{"Key": "InstanceIds", "Values": [node.id]}]
    [found] = ssm.describe_instance_information(Filters=only)["InstanceInformationList"]
    assert found["PingStatus"] == "Online"
    cloud.crash(node.id)
    [found] = ssm.describe_instance_information(Filters=only)["InstanceInformationList"]
    assert found["PingStatus"] == "ConnectionLost"


def test_a_report_after_the_end_changes_nothing(
    cloud: Cloud, ssm: Any, machines: Machines, node: Node
) -> None:
    def twice(_: str, delivery: Delivery) -> None:
        delivery.report("Success", 0, "first", "")
        cloud.until(lambda: status(ssm, delivery.command_id, node) == "Success", 30)
        delivery.report("Failed", 1, "second", "")

    machines.agent = twice
    command = send(ssm, node)
    cloud.until(lambda: status(ssm, command, node) == "Success", 30)
    time.sleep(0.2)
    assert status(ssm, command, node) == "Success"
