"""Asks AWS and the nodes everything that the checks want to know; changes nothing.

The nodes are asked by the people's SSM document with the action `status`, which only looks.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from cli.preflight.facts import Facts, Raw, Report, interfaces_of
from infra.account import Account, sentence
from infra.names import FUNCTIONS, Names
from node_hook.render import CannotRender, node_json, text_of

ANSWER_SECONDS: Final = 20.0
"""A node answers in one to two seconds; its own questions to its host take some more."""

POLL_SECONDS: Final = 0.5
_DELIVERY_SECONDS: Final = 30
"""The least that SSM takes."""


def gather(account: Account, names: Names, document: Raw, *, ask_nodes: bool = True) -> Facts:
    """The facts about a cluster with this definition. Read-only."""
    ec2 = account.client("ec2")
    instances = _instances(ec2, document)
    nodes = tuple(sorted(instances) if _by_tag(document) else _named(document))
    subnets = _subnets(ec2, instances.values())
    asked = _Questions()
    return Facts(
        names=names,
        document=document,
        nodes=nodes,
        instances=instances,
        volumes=_volumes(ec2, [str(v["id"]) for v in document.get("volumes", [])]),
        interfaces=_interfaces(ec2, list(subnets)),
        subnets=subnets,
        reservations=asked.ask(
            "subnet CIDR reservations", lambda: {s: _reservations(ec2, s) for s in subnets}
        ),
        groups=asked.ask("security groups", lambda: _groups(ec2, instances.values())),
        types=asked.ask("instance types", lambda: _types(ec2, instances.values())),
        managed=asked.ask("SSM's nodes", lambda: _managed(account.client("ssm"), nodes)),
        rules={f: _rule(account.client("events"), names.rule(f)) for f in FUNCTIONS},
        recovery=_recovery(account.client("dynamodb"), names.table),
        reports=ask(account, names, str(document["name"]), list(instances)) if ask_nodes else {},
        wanted_config=wanted_config(account, names, document, nodes),
        unanswered=asked.unanswered,
    )


def wanted_config(account: Account, names: Names, document: Raw, nodes: Sequence[str]) -> dict[str, str]:
    """The hash of each node's configuration, as the definition gives it."""
    hashes = {}
    for node in nodes:
        try:
            found = node_json(document, node, stage=names.stage, region=account.region, nodes=list(nodes))
        except CannotRender:
            continue  # the definition's own defects are told elsewhere
        hashes[node] = hashlib.sha256(text_of(found).encode()).hexdigest()
    return hashes


class _Questions:
    """Questions that may be refused without spoiling the rest."""

    def __init__(self) -> None:
        self.unanswered: dict[str, str] = {}

    def ask(self, name: str, question: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The answer, or an empty one and a note."""
        try:
            return question()
        except ClientError as error:
            self.unanswered[name] = sentence(error)
            return {}


def _named(document: Raw) -> list[str]:
    return [str(node["id"]) for node in document["nodes"]]


def _by_tag(document: Raw) -> bool:
    return isinstance(document["nodes"], Mapping)


def _instances(ec2: Any, document: Raw) -> dict[str, Raw]:
    """The nodes that are not terminated. Asked by filter, which an unknown id does not upset."""
    by = {"Name": "instance-id", "Values": [] if _by_tag(document) else _named(document)}
    if _by_tag(document):
        tag = document["nodes"]
        by = {"Name": f"tag:{tag['tag']}", "Values": [tag["value"]]}
    alive = ["pending", "running", "shutting-down", "stopping", "stopped"]
    filters = [by, {"Name": "instance-state-name", "Values": alive}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    return {i["InstanceId"]: i for i in found}


def _volumes(ec2: Any, volumes: Sequence[str]) -> dict[str, Raw]:
    if not volumes:
        return {}
    filters = [{"Name": "volume-id", "Values": list(volumes)}]
    pages = ec2.get_paginator("describe_volumes").paginate(Filters=filters)
    return {v["VolumeId"]: v for page in pages for v in page["Volumes"]}


def _subnets(ec2: Any, instances: Iterable[Raw]) -> dict[str, Raw]:
    names = {str(i["SubnetId"]) for instance in instances for i in interfaces_of(instance)}
    if not names:
        return {}
    found = ec2.describe_subnets(SubnetIds=sorted(names))["Subnets"]
    return {s["SubnetId"]: s for s in found}


def _interfaces(ec2: Any, subnets: Sequence[str]) -> list[Raw]:
    if not subnets:
        return []
    filters = [{"Name": "subnet-id", "Values": list(subnets)}]
    pages = ec2.get_paginator("describe_network_interfaces").paginate(Filters=filters)
    return [i for page in pages for i in page["NetworkInterfaces"]]


def _reservations(ec2: Any, subnet: str) -> list[Raw]:
    answer = ec2.get_subnet_cidr_reservations(SubnetId=subnet)
    return list(answer.get("SubnetIpv4CidrReservations", []))


def _groups(ec2: Any, instances: Iterable[Raw]) -> dict[str, Raw]:
    names = {
        str(group["GroupId"])
        for instance in instances
        for interface in interfaces_of(instance)
        for group in interface.get("Groups", [])
    }
    if not names:
        return {}
    found = ec2.describe_security_groups(GroupIds=sorted(names))["SecurityGroups"]
    return {g["GroupId"]: g for g in found}


def _types(ec2: Any, instances: Iterable[Raw]) -> dict[str, Raw]:
    names = sorted({str(instance["InstanceType"]) for instance in instances})
    if not names:
        return {}
    found = ec2.describe_instance_types(InstanceTypes=names)["InstanceTypes"]
    return {t["InstanceType"]: t for t in found}


def _managed(ssm: Any, nodes: Sequence[str]) -> dict[str, Raw]:
    if not nodes:
        return {}
    filters = [{"Key": "InstanceIds", "Values": list(nodes)}]
    pages = ssm.get_paginator("describe_instance_information").paginate(Filters=filters)
    return {i["InstanceId"]: i for page in pages for i in page["InstanceInformationList"]}


def _rule(events: Any, name: str) -> str:
    try:
        rule = events.describe_rule(Name=name)
        targets = events.list_targets_by_rule(Rule=name)["Targets"]
    except events.exceptions.ResourceNotFoundException:
        return "MISSING"
    return str(rule["State"]) if targets else "WITHOUT A TARGET"


def _recovery(dynamodb: Any, table: str) -> str:
    missing = (
        dynamodb.exceptions.TableNotFoundException,
        dynamodb.exceptions.ResourceNotFoundException,
    )
    try:
        found = dynamodb.describe_continuous_backups(TableName=table)
    except missing:
        return "MISSING"
    backups = found["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    return str(recovery.get("PointInTimeRecoveryStatus", "DISABLED"))


def ask(account: Account, names: Names, cluster: str, nodes: Sequence[str]) -> dict[str, Report]:
    """Each node's answer to people's `status`, all asked at the same time."""
    ssm = account.client("ssm")
    asked = {node: _send(ssm, names, cluster, node) for node in nodes}
    deadline = time.monotonic() + ANSWER_SECONDS
    reports: dict[str, Report] = {}
    while True:
        for node, (command, sent, why) in asked.items():
            if node not in reports:
                _hear(ssm, command, node, sent, why, reports)
        if len(reports) == len(asked) or time.monotonic() > deadline:
            late = f"no answer within {ANSWER_SECONDS:.0f} seconds"
            return {node: reports.get(node, Report(None, why=late)) for node in asked}
        time.sleep(POLL_SECONDS)


def _send(ssm: Any, names: Names, cluster: str, node: str) -> tuple[str, float, str]:
    """Command id, time it was sent, and why it could not be."""
    try:
        sent = ssm.send_command(
            DocumentName=names.people_document,
            InstanceIds=[node],
            TimeoutSeconds=_DELIVERY_SECONDS,
            Comment="baton check",
            Parameters={"action": ["status"], "cluster": [cluster]},
        )
    except ClientError as error:
        return "", 0.0, str(error)
    return str(sent["Command"]["CommandId"]), time.time(), ""


def _hear(ssm: Any, command: str, node: str, sent: float, why: str, reports: dict[str, Report]) -> None:
    """Note the answer, if there is one by now."""
    if not command:
        reports[node] = Report(None, why=why)
        return
    try:
        found = ssm.get_command_invocation(CommandId=command, InstanceId=node)
    except ssm.exceptions.InvocationDoesNotExist:
        return  # normal right after SendCommand
    if found["Status"] in ("Pending", "InProgress", "Delayed"):
        return
    answer = last_json(found.get("StandardOutputContent", ""))
    text = found.get("StandardErrorContent", "").strip()[-300:] or found["Status"]
    reports[node] = Report(answer, sent, time.time(), "" if answer else text)


def last_json(output: str) -> Raw | None:
    """The node script's answer: the last line of output that is a JSON object."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                found: Raw = json.loads(line)
            except ValueError:
                return None
            return found
    return None
