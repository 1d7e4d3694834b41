"""Makes the support stack's resources by direct calls, from the very template that AWS is given.

For places without a whole CloudFormation: the lab's cloud skips queue policies, alarms, TTL and bus
policies. It knows exactly the resource types and functions that the template uses, and fails on
any other, so a new one cannot be forgotten here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import boto3

from infra import template
from infra.names import Names

Properties: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that exists: what `Ref` gives, and what `GetAtt` gives by attribute."""

    ref: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Support:
    """What the template's outputs say of one stage."""

    stage: str
    table: str
    idempotency_table: str
    node_role_id: str
    node_role_arn: str
    node_profile: str
    dead_letters_arn: str
    dead_letters_url: str
    alarms_arn: str
    orchestrator_document: str
    people_document: str

    @classmethod
    def from_outputs(cls, stage: str, outputs: Mapping[str, str]) -> Support:
        """From the outputs of the stack, by whatever means it was made."""
        return cls(
            stage=stage,
            table=outputs["TableName"],
            idempotency_table=outputs["IdempotencyTableName"],
            node_role_id=outputs["NodeRoleId"],
            node_role_arn=outputs["NodeRoleArn"],
            node_profile=outputs["NodeProfileName"],
            dead_letters_arn=outputs["DeadLettersArn"],
            dead_letters_url=outputs["DeadLettersUrl"],
            alarms_arn=outputs["AlarmsArn"],
            orchestrator_document=outputs["OrchestratorDocumentName"],
            people_document=outputs["PeopleDocumentName"],
        )


def make_support(session: boto3.Session, stage: str, documents: Path = template.DOCUMENTS) -> Support:
    """Make one stage's support resources; the session's clients say where."""
    names = Names(stage)
    content = template.rendered(documents)
    maker = _Maker(session, names, content)
    for logical_id, resource in content["Resources"].items():
        if maker.wanted(resource):
            maker.make(logical_id, resource)
    outputs = {name: maker.resolve(o["Value"]) for name, o in content["Outputs"].items()}
    return Support.from_outputs(stage, outputs)


class _Maker:
    """Walks the template in its own order, which puts each resource after those it refers to."""

    def __init__(self, session: boto3.Session, names: Names, content: Mapping[str, Any]) -> None:
        self.session = session
        self.made: dict[str, Made] = {}
        self.values = {
            "Stage": names.stage,
            "AWS::Region": session.region_name,
            "AWS::AccountId": session.client("sts").get_caller_identity()["Account"],
            "AWS::Partition": "aws",
        }
        for name, parameter in content["Parameters"].items():
            self.values.setdefault(name, str(parameter.get("Default", "")))

    def wanted(self, resource: Mapping[str, Any]) -> bool:
        """Whether its condition holds; the only condition is a mail address for alarms."""
        return resource.get("Condition") != "HasEmail" or bool(self.values["AlarmEmail"])

    def make(self, logical_id: str, resource: Mapping[str, Any]) -> None:
        """Make one resource and remember what others may refer to."""
        handler = _HANDLERS[resource["Type"]]
        self.made[logical_id] = handler(self.session, self.resolve(resource["Properties"]))

    def resolve(self, value: Any) -> Any:
        """A value of the template with its intrinsic functions carried out."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        match list(value.items()):
            case [("Ref", name)]:
                return self.values[name] if name in self.values else self.made[name].ref
            case [("Fn::GetAtt", [name, attribute])]:
                return self.made[name].attributes[attribute]
            case [("Fn::Sub", text)]:
                return self._substitute(text)
        if any(key.startswith("Fn::") for key in value):
            raise NotImplementedError(f"{next(iter(value))} is not known here")
        return {key: self.resolve(item) for key, item in value.items()}

    def _substitute(self, text: str) -> str:
        """`${Name}` replaced, `${!Name}` left as `${Name}` for IAM to replace."""
        filled = re.sub(r"\$\{([\w:]+)\}", lambda match: self.values[match[1]], text)
        return filled.replace("${!", "${")


def _table(session: boto3.Session, p: Properties) -> Made:
    client = session.client("dynamodb")
    later = {"TimeToLiveSpecification", "PointInTimeRecoverySpecification"}
    sse = {"Enabled": p["SSESpecification"]["SSEEnabled"]}
    plain = {key: value for key, value in p.items() if key not in later}
    client.create_table(**{**plain, "SSESpecification": sse})
    name = p["TableName"]
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=p["TimeToLiveSpecification"])
    client.update_continuous_backups(
        TableName=name,
        PointInTimeRecoverySpecification=p["PointInTimeRecoverySpecification"],
    )
    return Made(name, {})


def _queue(session: boto3.Session, p: Properties) -> Made:
    client = session.client("sqs")
    attributes = {
        "MessageRetentionPeriod": str(p["MessageRetentionPeriod"]),
        "SqsManagedSseEnabled": str(p["SqsManagedSseEnabled"]).lower(),
    }
    url = client.create_queue(QueueName=p["QueueName"], Attributes=attributes, tags=_tag_map(p))["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return Made(url, {"Arn": arn["QueueArn"], "QueueName": p["QueueName"]})


def _queue_policy(session: boto3.Session, p: Properties) -> Made:
    policy = {"Policy": json.dumps(p["PolicyDocument"])}
    for url in p["Queues"]:
        session.client("sqs").set_queue_attributes(QueueUrl=url, Attributes=policy)
    return Made(p["Queues"][0], {})


def _document(session: boto3.Session, p: Properties) -> Made:
    known = ("Name", "DocumentType", "DocumentFormat", "TargetType", "Content", "Tags")
    session.client("ssm").create_document(**{key: p[key] for key in known})
    return Made(p["Name"], {})


def _role(session: boto3.Session, p: Properties) -> Made:
    client = session.client("iam")
    role = client.create_role(
        RoleName=p["RoleName"],
        Description=p["Description"],
        AssumeRolePolicyDocument=json.dumps(p["AssumeRolePolicyDocument"]),
        Tags=p["Tags"],
    )["Role"]
    for policy in p["Policies"]:
        client.put_role_policy(
            RoleName=p["RoleName"],
            PolicyName=policy["PolicyName"],
            PolicyDocument=json.dumps(policy["PolicyDocument"]),
        )
    return Made(p["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]})


def _profile(session: boto3.Session, p: Properties) -> Made:
    client = session.client("iam")
    name = p["InstanceProfileName"]
    client.create_instance_profile(InstanceProfileName=name)
    for role in p["Roles"]:
        client.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    return Made(name, {})


def _bus_policy(session: boto3.Session, p: Properties) -> Made:
    client = session.client("events")
    policy = json.loads(client.describe_event_bus().get("Policy") or '{"Statement": []}')
    others = [s for s in policy["Statement"] if s.get("Sid") != p["StatementId"]]
    statements = [*others, {"Sid": p["StatementId"], **p["Statement"]}]
    document = {"Version": "2012-10-17", "Statement": statements}
    client.put_permission(Policy=json.dumps(document))
    return Made(p["StatementId"], {})


def _log_group(session: boto3.Session, p: Properties) -> Made:
    client = session.client("logs")
    client.create_log_group(logGroupName=p["LogGroupName"])
    client.put_retention_policy(logGroupName=p["LogGroupName"], retentionInDays=p["RetentionInDays"])
    return Made(p["LogGroupName"], {})


def _metric_filter(session: boto3.Session, p: Properties) -> Made:
    transformations = [
        {key[0].lower() + key[1:]: value for key, value in one.items()} for one in p["MetricTransformations"]
    ]
    name = f"{p['LogGroupName']}-throttled".replace("/", "-").strip("-")
    session.client("logs").put_metric_filter(
        logGroupName=p["LogGroupName"],
        filterName=name,
        filterPattern=p["FilterPattern"],
        metricTransformations=transformations,
    )
    return Made(name, {})


def _topic(session: boto3.Session, p: Properties) -> Made:
    arn = session.client("sns").create_topic(Name=p["TopicName"], Tags=p["Tags"])["TopicArn"]
    return Made(arn, {})


def _subscription(session: boto3.Session, p: Properties) -> Made:
    arn = session.client("sns").subscribe(**p)["SubscriptionArn"]
    return Made(arn, {})


def _alarm(session: boto3.Session, p: Properties) -> Made:
    session.client("cloudwatch").put_metric_alarm(**{**p, "Threshold": float(p["Threshold"])})
    return Made(p["AlarmName"], {})


def _tag_map(p: Properties) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in p["Tags"]}


_HANDLERS: dict[str, Callable[[boto3.Session, Properties], Made]] = {
    "AWS::DynamoDB::Table": _table,
    "AWS::SQS::Queue": _queue,
    "AWS::SQS::QueuePolicy": _queue_policy,
    "AWS::SSM::Document": _document,
    "AWS::IAM::Role": _role,
    "AWS::IAM::InstanceProfile": _profile,
    "AWS::Events::EventBusPolicy": _bus_policy,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::Logs::MetricFilter": _metric_filter,
    "AWS::SNS::Topic": _topic,
    "AWS::SNS::Subscription": _subscription,
    "AWS::CloudWatch::Alarm": _alarm,
}
