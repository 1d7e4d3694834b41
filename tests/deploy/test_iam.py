"""What the policies allow and what they refuse, by an IAM evaluator that is not ours.

Each refused case is one line of docs/security.md.
"""

from __future__ import annotations

from typing import Any

import pytest

from infra import template
from infra.names import FUNCTIONS, Names
from infra.policies import CHALICE, LAB_ACCOUNT, LAB_REGION, Place, policy, write
from tests.deploy.iam_evaluator import Request, Verdict, evaluate

PLACE = Place(Names("prod"), LAB_ACCOUNT, LAB_REGION)
OTHER = Place(Names("test"), LAB_ACCOUNT, LAB_REGION)
ROLE_ID = "AROAEXAMPLEEXAMPLE123"
NODE = "i-0123456789abcdef0"
NODE_USER = f"{ROLE_ID}:{NODE}"
NODE_ROLE = f"arn:aws:iam::{LAB_ACCOUNT}:role/baton-prod-node"
BUS = PLACE.arn("events", "event-bus/default")
INSTANCE = PLACE.arn("ec2", f"instance/{NODE}")
VOLUME = PLACE.arn("ec2", "volume/vol-0123456789abcdef0")
INTERFACE = PLACE.arn("ec2", "network-interface/eni-0123456789abcdef0")
OURS = {"aws:ResourceTag/baton:stage": "prod"}
THEIRS = {"aws:ResourceTag/baton:stage": "test"}


def resolved(value: Any) -> Any:
    """A piece of the template with its substitutions made for the stage `prod`."""
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value == {"Fn::GetAtt": ["NodeRole", "Arn"]}:
        return NODE_ROLE
    if "Fn::Sub" in value:
        text = value["Fn::Sub"]
        for name, filled in (
            ("${Stage}", "prod"),
            ("${AWS::Partition}", "aws"),
            ("${AWS::Region}", LAB_REGION),
            ("${AWS::AccountId}", LAB_ACCOUNT),
            ("${!", "${"),
        ):
            text = text.replace(name, filled)
        return text
    return {key: resolved(item) for key, item in value.items()}


RESOURCES = template.load()["Resources"]
NODE_POLICY = resolved(RESOURCES["NodeRole"]["Properties"]["Policies"][0]["PolicyDocument"])
BUS_POLICY = {
    "Version": "2012-10-17",
    "Statement": [resolved(RESOURCES["BusPolicy"]["Properties"]["Statement"])],
}
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def function(action: str, resource: str, of: str = "on_word", **context: str) -> Request:
    """A call of a function."""
    return Request([policy(PLACE, of)], action, resource, context)


def node(action: str, resource: str, **context: str | list[str]) -> Request:
    """A call of a node, which has an instance profile."""
    return Request(
        [NODE_POLICY],
        action,
        resource,
        {"aws:userid": NODE_USER, "aws:PrincipalArn": NODE_ROLE, **context},
        principal=f"arn:aws:sts::{LAB_ACCOUNT}:assumed-role/baton-prod-node/{NODE}",
        resource_policy=BUS_POLICY if action == "events:PutEvents" else None,
    )


def word(*sources: str, detail_type: str = "Baton Word") -> Request:
    """A node's PutEvents with one entry for each source."""
    context = {"events:source": list(sources)} if sources else {}
    return node("events:PutEvents", BUS, **context, **{"events:detail-type": [detail_type]})


def stranger(source: str) -> Request:
    """PutEvents by an administrator of the account who is no node."""
    return Request(
        [EVERYTHING],
        "events:PutEvents",
        BUS,
        {
            "aws:userid": "AIDAADMINISTRATOR",
            "aws:PrincipalArn": f"arn:aws:iam::{LAB_ACCOUNT}:role/admin",
            "events:source": [source],
            "events:detail-type": ["Baton Word"],
        },
        principal=f"arn:aws:sts::{LAB_ACCOUNT}:assumed-role/admin/somebody",
        resource_policy=BUS_POLICY,
    )


DOCUMENT = PLACE.arn("ssm", "document/baton-prod-orchestrator")
TABLE = PLACE.arn("dynamodb", "table/baton-prod")
SOURCE = f"baton.prod.node/{NODE_USER}"
SSM_TAG = "ssm:resourceTag/baton:stage"

ALLOWED = {
    "attach a volume of the stage": function("ec2:AttachVolume", VOLUME, **OURS),
    "attach to an instance of the stage": function("ec2:AttachVolume", INSTANCE, **OURS),
    "detach a volume of the stage": function("ec2:DetachVolume", VOLUME, **OURS),
    "detach from an instance of the stage": function("ec2:DetachVolume", INSTANCE, **OURS),
    "move an address": function("ec2:AssignPrivateIpAddresses", INTERFACE, **OURS),
    "fence a node": function("ec2:StopInstances", INSTANCE, **OURS),
    "start a node": function("ec2:StartInstances", INSTANCE, **OURS),
    "send the orchestrator's document": function("ssm:SendCommand", DOCUMENT),
    "send to a node": function("ssm:SendCommand", INSTANCE, **{SSM_TAG: "prod"}),
    "write the record": function("dynamodb:UpdateItem", TABLE),
    "read the definitions": function(
        "ssm:GetParametersByPath", PLACE.arn("ssm", "parameter/baton/prod/clusters"), "sweep"
    ),
    "read one definition": function(
        "ssm:GetParameter", PLACE.arn("ssm", "parameter/baton/prod/clusters/orders")
    ),
    "tell what happened": function("events:PutEvents", BUS, **{"events:source": "baton.prod"}),
    "a node's own word": word(SOURCE),
    "two of its own words in one call": word(SOURCE, SOURCE),
    "a node's agent": node("ssmmessages:OpenControlChannel", "*"),
    "a stranger's own events": stranger("some.other.app"),
}

REFUSED = {
    "attach a volume without the tag": function("ec2:AttachVolume", VOLUME),
    "attach a volume of another stage": function("ec2:AttachVolume", VOLUME, **THEIRS),
    "detach a volume without the tag": function("ec2:DetachVolume", VOLUME),
    "attach to an instance without the tag": function("ec2:AttachVolume", INSTANCE),
    "move an address to a stranger's interface": function("ec2:AssignPrivateIpAddresses", INTERFACE),
    "stop an instance without the tag": function("ec2:StopInstances", INSTANCE),
    "stop an instance of another stage": function("ec2:StopInstances", INSTANCE, **THEIRS),
    "terminate a node": function("ec2:TerminateInstances", INSTANCE, **OURS),
    "delete a volume": function("ec2:DeleteVolume", VOLUME, **OURS),
    "tag a volume": function("ec2:CreateTags", VOLUME, **OURS),
    "send another document": function("ssm:SendCommand", PLACE.arn("ssm", "document/AWS-RunShellScript")),
    "send the people's document": function("ssm:SendCommand", PLACE.arn("ssm", "document/baton-prod-people")),
    "send another stage's document": function(
        "ssm:SendCommand", PLACE.arn("ssm", "document/baton-test-orchestrator")
    ),
    "send to an instance without the tag": function("ssm:SendCommand", INSTANCE),
    "send to another stage's node": function("ssm:SendCommand", INSTANCE, **{SSM_TAG: "test"}),
    "another stage's table": function("dynamodb:UpdateItem", PLACE.arn("dynamodb", "table/baton-test")),
    "another stage's definitions": function(
        "ssm:GetParametersByPath", PLACE.arn("ssm", "parameter/baton/test/clusters"), "sweep"
    ),
    "one of another stage's definitions": function(
        "ssm:GetParameter", PLACE.arn("ssm", "parameter/baton/test/clusters/orders")
    ),
    "a parameter that is no definition": function(
        "ssm:GetParameter", PLACE.arn("ssm", "parameter/database/password")
    ),
    "change a definition": function(
        "ssm:PutParameter", PLACE.arn("ssm", "parameter/baton/prod/clusters/orders")
    ),
    "delete the record": function("dynamodb:DeleteItem", TABLE),
    "speak as a node": function("events:PutEvents", BUS, **{"events:source": SOURCE}),
    "publish without a source": function("events:PutEvents", BUS),
    "a word of another node": word(f"baton.prod.node/{ROLE_ID}:i-0ffffffffffffffff"),
    "a word of another role": word(f"baton.prod.node/AROASOMEBODYELSE:{NODE}"),
    "a word of another stage": word(f"baton.test.node/{NODE_USER}"),
    "a foreign word among its own": word(SOURCE, f"baton.prod.node/{ROLE_ID}:i-0fffffffff"),
    "a word without a source": word(),
    "a node with another kind of event": word(SOURCE, detail_type="Baton News"),
    "a node that detaches a volume": node("ec2:DetachVolume", VOLUME, **OURS),
    "a node that reads a parameter": node(
        "ssm:GetParameter", PLACE.arn("ssm", "parameter/baton/prod/clusters/orders")
    ),
    "a node that sends commands": node("ssm:SendCommand", DOCUMENT),
    "a node that writes the record": node("dynamodb:UpdateItem", TABLE),
    "a stranger's word": stranger(SOURCE),
}


CASES: dict[str, Request] = {**ALLOWED, **REFUSED}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    """All verdicts, in one run of the evaluator."""
    return dict(zip(CASES, evaluate(list(CASES.values())), strict=True))


@pytest.mark.parametrize("case", ALLOWED)
def test_allowed(case: str, verdicts: dict[str, Verdict]) -> None:
    """What Baton needs is allowed."""
    assert verdicts[case].allowed, f"{ALLOWED[case]}: {verdicts[case].text}"


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, verdicts: dict[str, Verdict]) -> None:
    """What Baton must not do is refused, with every context key understood."""
    assert not verdicts[case].allowed, f"{REFUSED[case]}: allowed by {verdicts[case].by}"


@pytest.mark.parametrize("case", CASES)
def test_no_condition_rests_on_a_key_that_aws_does_not_offer(case: str, verdicts: dict[str, Verdict]) -> None:
    """A condition on a key that the action does not know would never hold, or always."""
    ignored = set(verdicts[case].ignored) - {"aws:ResourceTag/baton:stage"}
    assert not ignored


def test_the_node_role_is_trusted_to_ec2_alone() -> None:
    """Whoever assumes a role chooses its session name, which is the node's identity."""
    trust = RESOURCES["NodeRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ]


def test_the_files_in_the_checkout_are_current(tmp_path: Any) -> None:
    """`.chalice/policy-*.json` is what infra/policies.py says for the stage `lab`."""
    write(Place(Names("lab"), LAB_ACCOUNT, LAB_REGION), tmp_path)
    for name in FUNCTIONS:
        file = f"policy-{name}.json"
        current = (CHALICE / file).read_text(encoding="utf-8")
        assert current == (tmp_path / file).read_text(encoding="utf-8"), (
            f"{file} is old: run python -m infra.policies --stage lab"
        )


def test_two_stages_share_no_resource() -> None:
    """No statement of one stage's policy names anything of the other stage."""
    for name in FUNCTIONS:
        assert "prod" not in str(policy(OTHER, name))
