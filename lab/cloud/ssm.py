"""The API of SSM Run Command: what the calls answer. How commands go their way: run_command.py."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from lab.cloud import documents
from lab.cloud.errors import Refused
from lab.cloud.run_command import TERMINAL, Command, CommandInvocation, iso
from lab.cloud.world import Request, World

_DELIVERY_SECONDS = 3600.0
"""TimeoutSeconds if it is not given."""
_DELIVERY_LEAST_SECONDS = 30


def send(world: World, request: Request) -> dict[str, Any]:
    """SendCommand."""
    wanted = request.parameters
    content = documents.content(world, wanted["DocumentName"])
    values = documents.parameters(content, wanted.get("Parameters") or {})
    seconds = float(wanted.get("TimeoutSeconds") or _DELIVERY_SECONDS)
    if seconds < _DELIVERY_LEAST_SECONDS:
        raise Refused(
            "ValidationException",
            "1 validation error detected: Value at 'timeoutSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 30",
        )
    instances = list(wanted.get("InstanceIds") or []) or _targets(world, wanted)
    _refuse_unmanaged(world, instances)
    command = Command(
        id=str(uuid.uuid4()),
        document=str(wanted["DocumentName"]).split("document/")[-1],
        content=content,
        parameters=values,
        comment=str(wanted.get("Comment") or ""),
        delivery_seconds=seconds,
    )
    world.commands.send(command, instances)
    return {"Command": _command(command, [CommandInvocation(command, i) for i in instances])}


def get_invocation(world: World, request: Request) -> dict[str, Any]:
    """GetCommandInvocation."""
    wanted = request.parameters
    found = world.commands.invocations(wanted["CommandId"], wanted["InstanceId"])
    if not found:
        raise Refused("InvocationDoesNotExist", "")
    invocation = found[0]
    elapsed = (invocation.ended or time.time()) - (invocation.started or time.time())
    return {
        "CommandId": invocation.command.id,
        "InstanceId": invocation.instance,
        "Comment": invocation.command.comment,
        "DocumentName": invocation.command.document,
        "DocumentVersion": "$DEFAULT",
        "PluginName": _plugin(invocation),
        "ResponseCode": invocation.code,
        "ExecutionStartDateTime": iso(invocation.started),
        "ExecutionElapsedTime": f"PT{max(0.0, elapsed):.3f}S",
        "ExecutionEndDateTime": iso(invocation.ended),
        "Status": invocation.status,
        "StatusDetails": invocation.details,
        "StandardOutputContent": invocation.stdout,
        "StandardOutputUrl": "",
        "StandardErrorContent": invocation.stderr,
        "StandardErrorUrl": "",
    }


def list_invocations(world: World, request: Request) -> dict[str, Any]:
    """ListCommandInvocations, newest first."""
    wanted = request.parameters
    found = world.commands.invocations(wanted.get("CommandId", ""), wanted.get("InstanceId", ""))
    found.sort(key=lambda invocation: invocation.command.sent, reverse=True)
    for only in wanted.get("Filters") or []:
        if only.get("key") == "Status":
            found = [i for i in found if i.status == only.get("value")]
    page, token = _page(found, wanted)
    details = bool(wanted.get("Details"))
    return {"CommandInvocations": [_listed(i, details) for i in page], "NextToken": token}


def list_commands(world: World, request: Request) -> dict[str, Any]:
    """ListCommands."""
    wanted = request.parameters
    found = world.commands.invocations(wanted.get("CommandId", ""), wanted.get("InstanceId", ""))
    grouped: dict[str, list[CommandInvocation]] = {}
    for invocation in found:
        grouped.setdefault(invocation.command.id, []).append(invocation)
    page, token = _page(list(grouped.values())[::-1], wanted)
    return {"Commands": [_command(g[0].command, g) for g in page], "NextToken": token}


def cancel(world: World, request: Request) -> dict[str, Any]:
    """CancelCommand: best effort."""
    wanted = request.parameters
    if not world.commands.invocations(wanted["CommandId"]):
        raise Refused("InvalidCommandId", "The specified command ID isn't valid.")
    world.commands.cancel(wanted["CommandId"], list(wanted.get("InstanceIds") or []))
    return {}


def describe_instances(world: World, request: Request) -> dict[str, Any]:
    """DescribeInstanceInformation."""
    wanted = request.parameters
    chosen = set(world.commands.managed)
    for only in wanted.get("Filters") or []:
        if only.get("Key") == "InstanceIds":
            chosen &= set(only.get("Values") or [])
    for only in wanted.get("InstanceInformationFilterList") or []:
        if only.get("key") == "InstanceIds":
            chosen &= set(only.get("valueSet") or [])
    page, token = _page(sorted(chosen), wanted)
    return {"InstanceInformationList": [_information(world, i) for i in page], "NextToken": token}


def _targets(world: World, wanted: dict[str, Any]) -> list[str]:
    chosen = set(world.commands.managed)
    for target in wanted.get("Targets") or []:
        key, values = str(target["Key"]), set(target.get("Values") or [])
        if key == "InstanceIds":
            chosen &= values
        elif key.startswith("tag:"):
            chosen = {i for i in chosen if _tag(world, i, key[4:]) in values}
    return sorted(chosen) if wanted.get("Targets") else []


def _tag(world: World, instance: str, name: str) -> str | None:
    tags = world.ec2.describe_tags(filters={"resource-id": [instance], "key": [name]})
    return str(tags[0]["value"]) if tags else None


def _refuse_unmanaged(world: World, instances: list[str]) -> None:
    """SSM's valid states are running, pending, stopping and stopped, with a registered agent."""
    valid = {"running", "pending", "stopping", "stopped"}
    bad = [i for i in instances if i not in world.commands.managed or world.commands.state(i) not in valid]
    if bad or not instances:
        text = f"Instances [[{', '.join(bad)}]] not in a valid state for account "
        raise Refused("InvalidInstanceId", text + world.settings.account)


def _page(found: list[Any], wanted: dict[str, Any]) -> tuple[list[Any], str | None]:
    start, most = int(wanted.get("NextToken") or 0), int(wanted.get("MaxResults") or 50)
    end = start + most
    return found[start:end], str(end) if end < len(found) else None


def _command(command: Command, invocations: list[CommandInvocation]) -> dict[str, Any]:
    statuses = {invocation.status for invocation in invocations}
    over = [i for i in invocations if i.status in TERMINAL]
    status = statuses.pop() if len(statuses) == 1 else "InProgress"
    return {
        "CommandId": command.id,
        "DocumentName": command.document,
        "DocumentVersion": "$DEFAULT",
        "Comment": command.comment,
        "ExpiresAfter": _when(command.expires),
        "Parameters": command.parameters,
        "InstanceIds": [i.instance for i in invocations],
        "Targets": [],
        "RequestedDateTime": _when(command.sent),
        "Status": status,
        "StatusDetails": status,
        "TimeoutSeconds": int(command.delivery_seconds),
        "TargetCount": len(invocations),
        "CompletedCount": len(over),
        "ErrorCount": sum(i.status in ("Failed", "TimedOut") for i in over),
        "DeliveryTimedOutCount": sum(i.details == "DeliveryTimedOut" for i in over),
    }


def _listed(invocation: CommandInvocation, details: bool) -> dict[str, Any]:
    plugin = {
        "Name": _plugin(invocation),
        "Status": invocation.status,
        "StatusDetails": invocation.details,
        "ResponseCode": invocation.code,
        "ResponseStartDateTime": _when(invocation.started),
        "ResponseFinishDateTime": _when(invocation.ended),
        "Output": invocation.stdout[:2500],
    }
    return {
        "CommandId": invocation.command.id,
        "InstanceId": invocation.instance,
        "InstanceName": "",
        "Comment": invocation.command.comment,
        "DocumentName": invocation.command.document,
        "DocumentVersion": "$DEFAULT",
        "RequestedDateTime": _when(invocation.command.sent),
        "Status": invocation.status,
        "StatusDetails": invocation.details,
        "CommandPlugins": [{k: v for k, v in plugin.items() if v is not None}] if details else [],
    }


def _information(world: World, instance: str) -> dict[str, Any]:
    online = world.commands.state(instance) == "running"
    return {
        "InstanceId": instance,
        "PingStatus": "Online" if online else "ConnectionLost",
        "LastPingDateTime": _when(time.time()),
        "AgentVersion": "3.3.2746.0",
        "IsLatestVersion": True,
        "PlatformType": "Linux",
        "ResourceType": "EC2Instance",
    }


def _plugin(invocation: CommandInvocation) -> str:
    steps = invocation.command.content.get("mainSteps") or []
    return str(steps[0].get("name", "")) if steps else "aws:runShellScript"


def _when(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
