"""The IAM policy of each Lambda function, for one stage, account and region.

One role per function. Every mutation is bound to resources that carry the stage's tag, SendCommand
to the orchestrator's document besides, the table and the parameters to their exact names. No
function may create a tag, so none can widen its own reach.

    python -m infra.policies --stage lab      writes .chalice/policy-<function>.json

The checkout holds them for the stage `lab`; `./baton deploy` renders them for its own stage.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from infra.names import FUNCTIONS, STAGE_TAG, Names

Statement: TypeAlias = dict[str, Any]
Policy: TypeAlias = dict[str, Any]

LAB_ACCOUNT: Final = "123456789012"
LAB_REGION: Final = "us-east-1"
CHALICE: Final = Path(__file__).parent.parent / ".chalice"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stage lives; makes ARNs."""

    names: Names
    account: str
    region: str
    partition: str = "aws"

    def arn(self, service: str, resource: str) -> str:
        """ARN of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def policy(place: Place, function: str) -> Policy:
    """The policy of one function."""
    statements = [*_observe(place, function), *_mutate(place), *_command(place), *_record(place)]
    if function == "on_word":
        statements.append(_idempotency(place))
    statements += [_tell(place), _log(place, function), _dead_letters(place)]
    return {"Version": "2012-10-17", "Statement": statements}


def _tagged(place: Place, key: str = "aws:ResourceTag") -> Statement:
    return {"StringEquals": {f"{key}/{STAGE_TAG}": place.names.stage}}


def _observe(place: Place, function: str) -> list[Statement]:
    # A word names its cluster; a signal and the sweep are about all of them.
    read = "ssm:GetParameter" if function == "on_word" else "ssm:GetParametersByPath"
    return [
        {
            "Sid": "ObserveEc2",
            "Effect": "Allow",
            "Action": [
                "ec2:DescribeImages",
                "ec2:DescribeInstances",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets",
                "ec2:DescribeVolumes",
            ],
            "Resource": "*",  # these actions know no resources
            "Condition": {"StringEquals": {"ec2:Region": place.region}},
        },
        {
            "Sid": "ReadDefinitions",
            "Effect": "Allow",
            "Action": read,
            "Resource": [
                place.arn("ssm", f"parameter{place.names.definitions}"),
                place.arn("ssm", f"parameter{place.names.definitions}/*"),
            ],
        },
    ]


def _mutate(place: Place) -> list[Statement]:
    tagged = _tagged(place)
    return [
        {
            "Sid": "MoveVolumesOfThisStage",
            "Effect": "Allow",
            "Action": ["ec2:AttachVolume", "ec2:DetachVolume"],
            "Resource": [place.arn("ec2", "instance/*"), place.arn("ec2", "volume/*")],
            "Condition": tagged,
        },
        {
            "Sid": "MoveAddressesOfThisStage",
            "Effect": "Allow",
            "Action": "ec2:AssignPrivateIpAddresses",
            "Resource": place.arn("ec2", "network-interface/*"),
            "Condition": tagged,
        },
        {
            "Sid": "FenceNodesOfThisStage",
            "Effect": "Allow",
            "Action": ["ec2:StartInstances", "ec2:StopInstances"],
            "Resource": place.arn("ec2", "instance/*"),
            "Condition": tagged,
        },
    ]


def _command(place: Place) -> list[Statement]:
    return [
        {
            "Sid": "SendTheOrchestratorsDocument",
            "Effect": "Allow",
            "Action": "ssm:SendCommand",
            "Resource": place.arn("ssm", f"document/{place.names.orchestrator_document}"),
        },
        {
            "Sid": "ToNodesOfThisStage",
            "Effect": "Allow",
            "Action": "ssm:SendCommand",
            "Resource": place.arn("ec2", "instance/*"),
            "Condition": _tagged(place, "ssm:resourceTag"),
        },
        {
            "Sid": "HearAnswers",
            "Effect": "Allow",
            "Action": "ssm:GetCommandInvocation",
            "Resource": "*",  # this action knows no resources
        },
    ]


def _record(place: Place) -> list[Statement]:
    return [
        {
            "Sid": "KeepTheRecord",
            "Effect": "Allow",
            "Action": [
                "dynamodb:BatchGetItem",
                "dynamodb:ConditionCheckItem",
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
            ],
            "Resource": place.arn("dynamodb", f"table/{place.names.table}"),
        }
    ]


def _idempotency(place: Place) -> Statement:
    return {
        "Sid": "KeepDuplicatesOut",
        "Effect": "Allow",
        "Action": [
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
        "Resource": place.arn("dynamodb", f"table/{place.names.idempotency_table}"),
    }


def _tell(place: Place) -> Statement:
    source = f"baton.{place.names.stage}"
    return {
        "Sid": "TellWhatHappened",
        "Effect": "Allow",
        "Action": "events:PutEvents",
        "Resource": place.arn("events", "event-bus/default"),
        "Condition": {
            # A call carries several events. ForAllValues alone is true for an absent key.
            "ForAllValues:StringEquals": {"events:source": source},
            "Null": {"events:source": "false"},
        },
    }


def _log(place: Place, function: str) -> Statement:
    group = place.names.log_group(function)
    return {
        "Sid": "Log",
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": place.arn("logs", f"log-group:{group}:*"),
    }


def _dead_letters(place: Place) -> Statement:
    # Lambda itself sends an event that failed for good, in the function's name.
    return {
        "Sid": "KeepWhatFailed",
        "Effect": "Allow",
        "Action": "sqs:SendMessage",
        "Resource": place.arn("sqs", place.names.dead_letters),
    }


def write(place: Place, directory: Path) -> None:
    """Write the policy files where Chalice looks for them."""
    directory.mkdir(parents=True, exist_ok=True)
    for function in FUNCTIONS:
        text = json.dumps(policy(place, function), indent=2) + "\n"
        (directory / f"policy-{function}.json").write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write the checkout's files; see the module's docstring."""
    match arguments:
        case ["--stage", stage]:
            write(Place(Names(stage), LAB_ACCOUNT, LAB_REGION), CHALICE)
        case _:
            raise SystemExit("usage: python -m infra.policies --stage STAGE")


if __name__ == "__main__":
    main(sys.argv[1:])
