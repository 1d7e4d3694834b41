"""What Baton asks of AWS and reads of its answers, against AWS's own service models.

The fixture `emulated` fails any test whose requests a model does not allow, or that reads a field
that no answer has. Here is shown that this is no idle check, and that every operation is seen by it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from chalicelib import clients
from chalicelib.aws import Cloud as Ec2AndSsm
from chalicelib.aws_errors import classify
from chalicelib.items import key
from chalicelib.model import Attach, Attached, Detach, Fence, Move, Outcome, Power, Send, Start, Vrrp, Word
from tests.contract.emulated import Emulated, Ground
from tests.contract.ports import Place, address, order, places, power, waiting
from tests.contract.reading import Tape, missing, watched

OPERATIONS = {
    "AssignPrivateIpAddresses",
    "AttachVolume",
    "BatchGetItem",
    "DescribeImages",
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "DescribeVolumes",
    "DetachVolume",
    "GetCommandInvocation",
    "GetItem",
    "SendCommand",
    "StartInstances",
    "StopInstances",
    "TransactWriteItems",
    "UpdateItem",
}
"""All that `aws.py`, `aws_observe.py` and `store.py` ask for."""

READ = {
    "BatchGetItem.Responses",
    "BatchGetItem.UnprocessedKeys",
    "DescribeImages.Images.BlockDeviceMappings.DeviceName",
    "DescribeInstances.Reservations.Instances.BlockDeviceMappings.DeviceName",
    "DescribeInstances.Reservations.Instances.State.Name",
    "DescribeNetworkInterfaces.NetworkInterfaces.Attachment.InstanceId",
    "DescribeNetworkInterfaces.NetworkInterfaces.PrivateIpAddresses.PrivateIpAddress",
    "DescribeSubnets.Subnets.CidrBlock",
    "DescribeVolumes.Volumes.Attachments.State",
    "GetCommandInvocation.StandardOutputContent",
    "GetItem.Item",
    "SendCommand.Command.CommandId",
    "TransactWriteItems!TransactionCanceledException.CancellationReasons.Code",
    "UpdateItem!ConditionalCheckFailedException.Item",
}
"""Some fields, of answers and of errors, that a tour must be seen to read."""


def test_everything_that_is_asked_and_read_is_in_the_service_models(
    ground: Ground, emulated: Emulated
) -> None:
    """A volume and the address to a node, a command and its answer, a stop and a start, a record."""
    (a, _), (volume, _) = emulated.cluster.nodes, emulated.cluster.volumes
    command = order(emulated, a)
    _, id = emulated.do(Send(command))
    emulated.do(Attach(volume, a, "/dev/sdf"))
    emulated.do(Move(emulated.cluster.addresses, emulated.interface(a), a))
    emulated.settle()
    emulated.run_commands()
    assert emulated.see(waiting(emulated, command, id)).answers
    for action in (Detach(volume, a), Fence(a), Start(a)):
        emulated.do(action)
        emulated.settle()
    _tour_of_the_record(emulated)
    assert ground.tape.wrong == []
    assert missing(OPERATIONS, ground.tape) == set()
    assert ground.tape.operations <= OPERATIONS
    assert READ - ground.tape.read == set()


def _tour_of_the_record(emulated: Emulated) -> None:
    a, _ = emulated.cluster.nodes
    assert emulated.accept(Word(a, Vrrp.MASTER, 5, "boot"))
    assert not emulated.accept(Word(a, Vrrp.BACKUP, 4, "boot"))
    record = emulated.take("me")
    assert record is not None
    assert emulated.take("another") is None
    kept = emulated.persist(replace(record, because="granted", epoch=1, owner=a))
    assert kept is not None
    assert emulated.persist(replace(record, because="too late")) is None
    assert not emulated.give_up(replace(kept, words_version=0))
    assert emulated.give_up(kept)


@pytest.mark.parametrize("purpose", ["ec2", "ssm", "ssm-parameters", "dynamodb", "events"])
def test_every_client_of_baton_checks_what_it_sends(purpose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's parameter validation is on by default, and nothing turns it off (botocore
    reference, Config, `parameter_validation`)."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    client = clients.client.__wrapped__(purpose)
    assert client.meta.config.parameter_validation is True


def test_a_request_that_the_model_does_not_allow_is_never_sent(ground: Ground) -> None:
    """botocore refuses it, and the core hears that it certainly did not happen."""
    ground.cloud.calls.clear()
    with pytest.raises(ParamValidationError) as refused:
        ground.cloud.client("ec2").attach_volume(VolumeId=7, Instance="i-1", Device="/dev/sdf")
    assert classify("AttachVolume", refused.value).outcome is Outcome.REFUSED
    assert ground.cloud.calls.of("AttachVolume") == []


def test_a_field_that_no_answer_has_is_noticed(ground: Ground) -> None:
    """However deep it lies, and even if nobody looks at what came of it."""
    tape = Tape()
    client = watched(ground.client("ec2"), tape)
    (first, *_) = client.describe_subnets()["Subnets"]
    assert first["SubnetId"].startswith("subnet-")
    assert tape.wrong == []
    assert first.get("Cidr") is None
    assert tape.wrong == ["DescribeSubnets.Subnets.Cidr: no answer has this field"]


def test_a_parameter_that_no_request_has_is_noticed(ground: Ground) -> None:
    """By the tape too, not only by botocore."""
    tape = Tape()
    client = watched(ground.client("ssm"), tape)
    with pytest.raises(ParamValidationError):
        client.send_command(DocumentName="d", Timeout=30)
    assert len(tape.wrong) == 1
    assert "Timeout" in tape.wrong[0]


def test_without_reassignment_a_held_address_stays_where_it_is(ground: Ground, emulated: Emulated) -> None:
    """InvalidParameterValue, "assigned, but move is not allowed" (EC2 API reference,
    AssignPrivateIpAddresses, AllowReassignment; github.com/ansible/ansible/pull/41982). The core
    never asks so, and the simulator's Move is the one that is allowed to."""
    a, b = emulated.cluster.nodes
    (service,) = emulated.cluster.addresses
    emulated.do(Move((service,), emulated.interface(a), a))
    with pytest.raises(ClientError, match="move is not allowed") as refused:
        ground.ec2.assign_private_ip_addresses(
            NetworkInterfaceId=emulated.interface(b), PrivateIpAddresses=[service]
        )
    assert classify("AssignPrivateIpAddresses", refused.value).outcome is Outcome.REFUSED
    assert address(emulated).holder == a
    ground.cloud.calls.clear()
    emulated.do(Move((service,), emulated.interface(b), b))
    (call,) = ground.cloud.calls.of("AssignPrivateIpAddresses")
    assert call.parameters["AllowReassignment"] is True
    assert address(emulated).holder == b


def test_a_detach_always_names_the_instance(ground: Ground, emulated: Emulated) -> None:
    """Without InstanceId EC2 detaches a volume from wherever it is (EC2 API reference, DetachVolume:
    not required). In the simulator a Detach cannot even be written without it."""
    (a, b), (volume, _) = emulated.cluster.nodes, emulated.cluster.volumes
    emulated.do(Attach(volume, b, "/dev/sdf"))
    emulated.settle()
    ground.cloud.calls.clear()
    emulated.do(Detach(volume, a))
    (call,) = ground.cloud.calls.of("DetachVolume")
    assert call.parameters["InstanceId"] == a
    assert places(emulated, volume) == (Place(b, Attached.ATTACHED),)
    ground.ec2.detach_volume(VolumeId=volume)
    emulated.settle()
    assert places(emulated, volume) == ()


def test_an_instance_that_spoke_and_is_not_there_is_not_off(emulated: Emulated) -> None:
    """InvalidInstanceID.NotFound may come from a read that went back in time (EC2 developer guide,
    "Eventual consistency"; github.com/kubernetes/kubernetes/issues/85675)."""
    ghost = "i-0123456789abcdef0"
    emulated.cluster = replace(emulated.cluster, nodes=(*emulated.cluster.nodes, ghost))
    said = Word(ghost, Vrrp.MASTER, int((time.time() - 60) * 1000), "boot")
    spoke = replace(waiting(emulated, order(emulated, emulated.cluster.nodes[0]), None), words=(said,))
    assert emulated.see(spoke).power(ghost) is Power.UNKNOWN
    assert power(emulated, ghost) is Power.TERMINATED


def test_the_stop_asks_for_all_that_pulls_the_plug(ground: Ground, emulated: Emulated) -> None:
    """Force alone would still try a graceful stop first (EC2 API reference, StopInstances, Force and
    SkipOsShutdown)."""
    a, _ = emulated.cluster.nodes
    ground.cloud.calls.clear()
    emulated.do(Fence(a))
    (call,) = ground.cloud.calls.of("StopInstances")
    wanted: dict[str, Any] = {"InstanceIds": [a], "Force": True, "SkipOsShutdown": True}
    assert {name: call.parameters.get(name) for name in wanted} == wanted


def test_a_resource_that_is_not_there_is_refused_for_good(ground: Ground, emulated: Emulated) -> None:
    """InvalidVolume.NotFound, InvalidInstanceID.NotFound, InvalidNetworkInterfaceID.NotFound (EC2
    error codes). Cluster definitions of the simulator name only what exists."""
    a, _ = emulated.cluster.nodes
    ours = Ec2AndSsm(ground.ec2, ground.ssm, "contract")
    lost = "vol-0123456789abcdef0"
    told = ours.perform(emulated.cluster, Attach(lost, a, "/dev/sdf"))
    assert (told.outcome, told.code) == (Outcome.REFUSED, "InvalidVolume.NotFound")
    told = ours.perform(emulated.cluster, Move(emulated.cluster.addresses, "eni-0123456789abcdef0", a))
    assert (told.outcome, told.code) == (Outcome.REFUSED, "InvalidNetworkInterfaceID.NotFound")


def test_the_key_of_an_item_is_what_the_table_has(ground: Ground, emulated: Emulated) -> None:
    """`pk` and `sk`: a record never seen has no items (DynamoDB API reference, GetItem)."""
    got = ground.dynamodb.get_item(TableName=ground.table, Key=key(emulated.cluster.name, "RECORD"))
    assert "Item" not in got
