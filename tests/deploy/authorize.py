"""Recorded API calls as IAM sees them: action, resources, and the context keys that AWS fills in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.policies import Place, Policy
from lab.cloud.calls import Call
from tests.deploy.iam_evaluator import Request

TRANSACTION = {
    "Update": "UpdateItem",
    "Put": "PutItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}
Tags = Mapping[str, Mapping[str, str]]
"""Tags by resource id."""


def requests(call: Call, policy: Policy, place: Place, tags: Tags) -> Iterator[Request]:
    """Everything that IAM would decide for this call."""
    for action, resource, context in _decisions(call, place, tags):
        yield Request([policy], action, resource, context)


def _decisions(call: Call, place: Place, tags: Tags) -> Iterator[tuple[str, str, dict[str, str | list[str]]]]:
    given = call.parameters
    match call.service:
        case "ec2":
            yield from _ec2(call, place, tags)
        case "ssm":
            yield from _ssm(call, place, tags)
        case "dynamodb":
            yield from _dynamodb(call, place)
        case "events":
            entries = given["Entries"]
            context: dict[str, str | list[str]] = {
                "events:source": [entry["Source"] for entry in entries],
                "events:detail-type": [entry["DetailType"] for entry in entries],
            }
            yield "events:PutEvents", place.arn("events", "event-bus/default"), context
        case _:
            raise NotImplementedError(f"{call.service}:{call.operation} is not known here")


def _ec2(call: Call, place: Place, tags: Tags) -> Iterator[tuple[str, str, Any]]:
    action = f"ec2:{call.operation}"
    if call.operation.startswith("Describe"):
        yield action, "*", {"ec2:Region": place.region}
        return
    given = call.parameters
    kinds = {
        "InstanceId": "instance",
        "VolumeId": "volume",
        "NetworkInterfaceId": "network-interface",
    }
    named = [(kind, str(given[key])) for key, kind in kinds.items() if given.get(key)]
    named += [("instance", str(i)) for i in given.get("InstanceIds", [])]
    if not named:
        raise NotImplementedError(f"{call.operation} names no resource that is known here")
    for kind, name in named:
        yield action, place.arn("ec2", f"{kind}/{name}"), _tags("aws:ResourceTag", tags, name)


def _ssm(call: Call, place: Place, tags: Tags) -> Iterator[tuple[str, str, Any]]:
    action, given = f"ssm:{call.operation}", call.parameters
    match call.operation:
        case "SendCommand":
            yield action, place.arn("ssm", f"document/{given['DocumentName']}"), {}
            for node in given["InstanceIds"]:
                context = _tags("ssm:resourceTag", tags, node)
                yield action, place.arn("ec2", f"instance/{node}"), context
        case "GetParameter":
            yield action, place.arn("ssm", f"parameter{given['Name']}"), {}
        case "GetParametersByPath":
            yield action, place.arn("ssm", f"parameter{given['Path']}"), {}
        case _:
            yield action, "*", {}


def _dynamodb(call: Call, place: Place) -> Iterator[tuple[str, str, Any]]:
    given = call.parameters
    if call.operation == "BatchGetItem":
        for table in given["RequestItems"]:
            yield "dynamodb:BatchGetItem", place.arn("dynamodb", f"table/{table}"), {}
    elif call.operation == "TransactWriteItems":
        for item in given["TransactItems"]:
            for kind, content in item.items():
                table = place.arn("dynamodb", f"table/{content['TableName']}")
                yield f"dynamodb:{TRANSACTION[kind]}", table, {}
    else:
        table = place.arn("dynamodb", f"table/{given['TableName']}")
        yield f"dynamodb:{call.operation}", table, {}


def _tags(key: str, tags: Tags, name: str) -> dict[str, str]:
    return {f"{key}/{tag}": value for tag, value in tags.get(name, {}).items()}
