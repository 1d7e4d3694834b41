"""What moto does without the lab. When one of these fails, moto has changed under a patch of ours:
read the patch again, and drop it if moto now does as AWS does.

Each test names where AWS says what it does instead.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.awslambda.models import LambdaBackend
from moto.core.responses import BaseResponse
from moto.dynamodb.models import dynamodb_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.events.models import EventBus
from moto.ssm.models import SimpleSystemManagerBackend

from lab.cloud import gate, patches
from lab.cloud.operations import OPERATIONS
from lab.cloud.world import current

REGION, ACCOUNT = "eu-central-1", "123456789012"


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto as it is, whatever this process has patched."""
    assert current() is None
    monkeypatch.setattr(BaseResponse, "call_action", gate._original)
    monkeypatch.setattr(NetworkInterface, "get_filter_value", patches._filter_value)
    monkeypatch.setattr(Instance, "setup_defaults", patches._setup_defaults)
    monkeypatch.setattr(SimpleSystemManagerBackend, "create_document", patches._create)
    monkeypatch.delattr(EventBus, "physical_resource_id", raising=False)
    monkeypatch.setattr(LambdaBackend, "put_function_event_invoke_config", patches._put_config)
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


def instance(ec2: Any, zone: str = "a") -> tuple[str, str]:
    """Id and interface of a new instance."""
    where = {"Placement": {"AvailabilityZone": REGION + zone}}
    made = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, **where)["Instances"][0]
    return made["InstanceId"], made["NetworkInterfaces"][0]["NetworkInterfaceId"]


def volume(ec2: Any, zone: str = "a") -> str:
    return str(ec2.create_volume(AvailabilityZone=REGION + zone, Size=1)["VolumeId"])


def test_reassignment_is_ignored_and_the_address_is_on_both() -> None:
    """EC2 moves it, or refuses: API reference, AssignPrivateIpAddresses, AllowReassignment;
    getmoto/moto#6147. It also refuses an address outside the subnet."""
    ec2 = client("ec2")
    (_, a), (_, b) = instance(ec2), instance(ec2)
    for interface in (a, b):
        ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=["203.0.113.9"])
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[a, b])["NetworkInterfaces"]
    held = [[item["PrivateIpAddress"] for item in i["PrivateIpAddresses"]] for i in found]
    assert all("203.0.113.9" in addresses for addresses in held)


def test_no_interface_is_found_by_a_secondary_address() -> None:
    """EC2 finds it: API reference, DescribeNetworkInterfaces, filter addresses.private-ip-address."""
    ec2 = client("ec2")
    _, interface = instance(ec2)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=["172.31.0.77"])
    only = [{"Name": "addresses.private-ip-address", "Values": ["172.31.0.77"]}]
    assert ec2.describe_network_interfaces(Filters=only)["NetworkInterfaces"] == []


def test_attach_is_immediate_and_takes_what_ec2_refuses() -> None:
    """VolumeInUse, InvalidVolume.ZoneMismatch, InvalidParameterValue, IncorrectState: EC2 API
    reference, "Error codes"; states of an attachment: EBS user guide, "Attach an EBS volume"."""
    ec2 = client("ec2")
    (a, _), (b, _) = instance(ec2), instance(ec2)
    used, other_zone = volume(ec2), volume(ec2, "b")
    ec2.attach_volume(VolumeId=used, InstanceId=a, Device="/dev/sdf")
    assert ec2.describe_volumes(VolumeIds=[used])["Volumes"][0]["Attachments"][0]["State"] == "attached"
    ec2.attach_volume(VolumeId=used, InstanceId=b, Device="/dev/sdf")
    ec2.attach_volume(VolumeId=other_zone, InstanceId=b, Device="/dev/sdf")
    ec2.terminate_instances(InstanceIds=[a])
    ec2.attach_volume(VolumeId=volume(ec2), InstanceId=a, Device="/dev/sdg")


def test_detach_is_immediate_and_needs_an_instance() -> None:
    """On EC2 InstanceId is optional (API reference, DetachVolume), and a mounted volume stays
    `busy` (EBS user guide, "Detach an EBS volume")."""
    ec2 = client("ec2")
    node, _ = instance(ec2)
    used = volume(ec2)
    ec2.attach_volume(VolumeId=used, InstanceId=node, Device="/dev/sdf")
    with pytest.raises(TypeError):
        ec2.detach_volume(VolumeId=used)
    ec2.detach_volume(VolumeId=used, InstanceId=node)
    assert ec2.describe_volumes(VolumeIds=[used])["Volumes"][0]["Attachments"] == []


def test_instances_change_state_at_once_and_in_any_state() -> None:
    """EC2 goes through pending, stopping and shutting-down (EC2 user guide, "Instance state
    changes") and refuses with IncorrectInstanceState (API reference, "Error codes")."""
    ec2 = client("ec2")
    node, _ = instance(ec2)

    def state() -> str:
        found = ec2.describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"][0]
        return str(found["State"]["Name"])

    assert state() == "running"
    ec2.stop_instances(InstanceIds=[node])
    assert state() == "stopped"
    ec2.terminate_instances(InstanceIds=[node])
    ec2.start_instances(InstanceIds=[node])
    assert state() == "running"


def test_every_root_is_on_sda1() -> None:
    """On EC2 it is where the image has it: EC2 user guide, "Device names"."""
    ec2 = client("ec2")
    image = ec2.register_image(Name="lab", RootDeviceName="/dev/xvda")["ImageId"]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    found = ec2.describe_instances(InstanceIds=[made])["Reservations"][0]["Instances"][0]
    assert [m["DeviceName"] for m in found["BlockDeviceMappings"]] == ["/dev/sda1"]


def test_send_command_is_success_at_once_with_any_document() -> None:
    """Pending, InProgress, then the end: Systems Manager user guide, "Understanding command
    statuses"; InvalidDocument, InvalidInstanceId, InvalidParameters: API reference, SendCommand."""
    ssm = client("ssm")
    sent = ssm.send_command(InstanceIds=["i-00000000000000000"], DocumentName="no-such-document")
    command = sent["Command"]["CommandId"]
    answer = ssm.get_command_invocation(CommandId=command, InstanceId="i-00000000000000000")
    assert answer["Status"] == "Success"


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("list_command_invocations", {}),
        ("cancel_command", {"CommandId": "00000000-0000-0000-0000-000000000000"}),
        ("describe_instance_information", {}),
    ],
)
def test_operations_of_run_command_are_missing(operation: str, arguments: dict[str, str]) -> None:
    """They are in the Systems Manager API reference."""
    with pytest.raises(NotImplementedError):
        getattr(client("ssm"), operation)(**arguments)


def test_put_events_breaks_on_a_lambda_target() -> None:
    """EventBridge user guide, "Event bus targets available": AWS Lambda."""
    events = client("events")
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["x"]}))
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])
    with pytest.raises(NotImplementedError):
        events.put_events(Entries=[{"Source": "x", "DetailType": "x", "Detail": "{}"}])


def test_scheduled_and_disabled_rules_hear_every_event() -> None:
    """EventBridge user guide: a schedule matches no event, a disabled rule nothing at all."""
    events, sqs = client("events"), client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    events.put_rule(Name="r", ScheduleExpression="rate(1 minute)", State="DISABLED")
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}])
    events.put_events(Entries=[{"Source": "x", "DetailType": "x", "Detail": "{}"}])
    assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1


def test_a_second_event_invoke_config_is_not_shown() -> None:
    """PutFunctionEventInvokeConfig overwrites the existing one: Lambda API reference."""
    iam, functions = client("iam"), client("lambda")
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    functions.create_function(FunctionName="f", Role=role, Code={"ZipFile": b"x"}, Runtime="python3.11")
    for attempts in (2, 0):
        functions.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=attempts)
    shown = functions.get_function_event_invoke_config(FunctionName="f")
    assert shown["MaximumRetryAttempts"] == 2


def test_sts_knows_no_session_but_its_own() -> None:
    """With an instance profile the user id is <role id>:<instance id>: IAM user guide,
    "IAM policy elements: Variables and tags"."""
    assert client("sts").get_caller_identity()["Arn"].endswith("user/moto")


def test_conditional_writes_are_lost_between_threads() -> None:
    """DynamoDB's are serializable: developer guide, "Condition expressions"."""
    client("dynamodb").create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    backend = dynamodb_backends[ACCOUNT][REGION]
    backend.put_item("t", {"id": {"S": "x"}, "n": {"N": "0"}})
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        written = _increments(backend)
    finally:
        sys.setswitchinterval(switch)
    kept = int(backend.get_item("t", {"id": {"S": "x"}}).attrs["n"].value)
    assert kept < written


def _increments(backend: Any) -> int:
    """Conditional increments by four threads for a second; how many were said to be written."""
    written, until = [0] * 4, time.monotonic() + 1.0

    def work(worker: int) -> None:
        while time.monotonic() < until:
            n = int(backend.get_item("t", {"id": {"S": "x"}}).attrs["n"].value)
            try:
                backend.update_item(
                    table_name="t",
                    key={"id": {"S": "x"}},
                    update_expression="SET n = :new",
                    expression_attribute_names={},
                    expression_attribute_values={":new": {"N": str(n + 1)}, ":old": {"N": str(n)}},
                    condition_expression="n = :old",
                )
                written[worker] += 1
            except Exception as refused:
                assert "conditional" in str(refused).lower()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return sum(written)


def test_cloudformation_keeps_a_documents_content_as_an_object() -> None:
    """Content is JSON: CloudFormation reference, AWS::SSM::Document."""
    document = {"DocumentType": "Command", "Content": {"schemaVersion": "2.2", "mainSteps": []}}
    _stack("AWS::SSM::Document", {"Name": "work", "DocumentFormat": "JSON", **document})
    with pytest.raises(AttributeError):
        client("ssm").describe_document(Name="work")


def test_cloudformation_cannot_refer_to_an_event_bus() -> None:
    """`Ref` gives its name: CloudFormation reference, AWS::Events::EventBus, "Return values"."""
    bus = {"Type": "AWS::Events::EventBus", "Properties": {"Name": "bus"}}
    rule = {"Name": "r", "EventBusName": {"Ref": "Bus"}, "EventPattern": {"source": ["x"]}}
    with pytest.raises(AttributeError):
        _stack("AWS::Events::Rule", rule, Bus=bus)


def _stack(kind: str, properties: dict[str, Any], **others: Any) -> None:
    template = {"Resources": {**others, "It": {"Type": kind, "Properties": properties}}}
    client("cloudformation").create_stack(StackName="s", TemplateBody=json.dumps(template))


@pytest.mark.parametrize("service", sorted({service for service, _ in OPERATIONS} | {"dynamodb", "sqs"}))
def test_every_service_that_matters_passes_the_gate(service: str) -> None:
    """A service with a `call_action` of its own must end in the common one, as DynamoDB's does."""
    module = importlib.import_module(f"moto.{service.replace('lambda', 'awslambda')}.responses")
    handlers = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, BaseResponse)]
    own = {c.__name__ for c in handlers if c is not BaseResponse and "call_action" in vars(c)}
    assert own <= {"DynamoHandler"}
