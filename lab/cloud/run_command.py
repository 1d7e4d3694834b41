"""SSM Run Command: Pending, InProgress, then what the node's agent says, when it says it.

moto answers Success at once, with any document, and adds every instance of the Region to the
command; ListCommandInvocations, CancelCommand and DescribeInstanceInformation are missing. On
AWS the invocation is not there yet right after SendCommand (InvocationDoesNotExist), a dead
agent leaves it Pending or InProgress, and each change is an event on the default bus (Systems
Manager user guide, "Understanding command statuses" and "Monitoring Systems Manager events").
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.ec2.exceptions import InvalidInstanceIdError

from lab.cloud import documents
from lab.cloud.errors import Refused
from lab.cloud.machinery import AgentUnreachable, Delivery
from lab.cloud.world import Request, World

TERMINAL = {"Success", "Failed", "TimedOut", "Cancelled"}
_STDOUT_MOST, _STDERR_MOST = 24_000, 8_000
"""Characters of output that GetCommandInvocation gives (AWS cuts there)."""
_DELIVERY_SECONDS = 3600.0
_AGAIN_SECONDS = 0.5
_COMMANDS_MOST = 5_000


@dataclass(slots=True)
class Command:
    """One SendCommand."""

    id: str
    document: str
    content: dict[str, Any]
    parameters: dict[str, list[str]]
    comment: str
    delivery_seconds: float
    sent: float = field(default_factory=time.time)

    @property
    def expires(self) -> float:
        """When it is not delivered any more."""
        return self.sent + self.delivery_seconds


@dataclass(slots=True)
class CommandInvocation:
    """A command on one instance."""

    command: Command
    instance: str
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: float | None = None
    ended: float | None = None


class RunCommand:
    """Commands and the instances that SSM manages.

    An instance with an instance profile registers when it boots; `register` and `forget` say
    otherwise. A registered one keeps taking commands while it is stopped: they stay Pending.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.managed: set[str] = set()
        self._all: OrderedDict[str, list[CommandInvocation]] = OrderedDict()

    def register(self, instance: str) -> None:
        """The instance's agent has registered with SSM."""
        self.managed.add(instance)

    def forget(self, instance: str) -> None:
        """SSM never heard of an agent on this instance."""
        self.managed.discard(instance)

    def booted(self, instance: str) -> None:
        """An instance runs: with a profile, its agent registers."""
        with self._world.lock:
            if instance in self._world.ec2.iam_instance_profile_associations:
                self.managed.add(instance)

    def send(self, command: Command, instances: list[str]) -> None:
        """Accept a command and begin to deliver it."""
        invocations = [CommandInvocation(command, instance) for instance in instances]
        self._all[command.id] = invocations
        while len(self._all) > _COMMANDS_MOST:
            self._all.popitem(last=False)
        for invocation in invocations:
            self._tell(invocation)
            self._begin(invocation)

    def invocations(self, command_id: str = "", instance: str = "") -> list[CommandInvocation]:
        """What GetCommandInvocation can see: nothing of a command just sent."""
        seen_before = time.time() - self._world.latencies.ssm_visible
        found = [self._all.get(command_id, [])] if command_id else list(self._all.values())
        return [
            invocation
            for group in found
            for invocation in group
            if instance in ("", invocation.instance) and invocation.command.sent <= seen_before
        ]

    def cancel(self, command_id: str, instances: list[str]) -> None:
        """Pending ones are cancelled; one in progress goes on until its agent reports."""
        for invocation in self._all.get(command_id, []):
            if instances and invocation.instance not in instances:
                continue
            if invocation.status == "Pending":
                self._set(invocation, "Cancelled", "Cancelled")
            elif invocation.status == "InProgress":
                self._set(invocation, "Cancelling", "Cancelling")

    def _begin(self, invocation: CommandInvocation) -> None:
        world, fault = self._world, self._world.faults.ssm(invocation.instance)
        kind = fault.kind if fault else ""
        extra = fault.seconds if fault else 0.0
        wait = world.latencies.ssm_deliver
        if kind != "undelivered":
            late = extra if kind == "late" else 0.0
            lost = kind == "lost"
            world.timeline.after(wait, lambda: self._deliver(invocation, late, lost))
        if kind == "twice":
            world.timeline.after(wait + extra, lambda: self._hand_over(invocation, 0.0, False))
        command = invocation.command
        world.timeline.after(command.delivery_seconds, lambda: self._expire(invocation))

    def _deliver(self, invocation: CommandInvocation, late: float, lost: bool) -> None:
        """Hand it to the agent once there is one."""
        with self._world.lock:
            over = invocation.status != "Pending" or time.time() > invocation.command.expires
            running = self._state(invocation.instance) == "running"
        if over:
            return
        try:
            if not running:
                raise AgentUnreachable
            self._hand_over(invocation, late, lost)
        except AgentUnreachable:
            again = self._world.timeline.after
            again(_AGAIN_SECONDS, lambda: self._deliver(invocation, late, lost))
            return
        with self._world.lock:
            if invocation.status == "Pending":
                self._set(invocation, "InProgress", "InProgress")
        seconds = documents.execution_seconds(invocation.command.content)
        self._world.timeline.after(seconds, lambda: self._overrun(invocation))

    def _hand_over(self, invocation: CommandInvocation, late: float, lost: bool) -> None:
        command, world = invocation.command, self._world

        def report(status: str, code: int, stdout: str, stderr: str) -> None:
            wait = world.latencies.ssm_report + late
            if not lost:
                world.timeline.after(
                    wait, lambda: self._reported(invocation, status, code, stdout, stderr)
                )

        delivery = Delivery(
            command.id, command.document, command.content, command.parameters, report
        )
        world.machinery.deliver(invocation.instance, delivery)

    def _reported(
        self, invocation: CommandInvocation, status: str, code: int, stdout: str, stderr: str
    ) -> None:
        with self._world.lock:
            if invocation.status in TERMINAL:
                return
            invocation.code = code
            invocation.stdout, invocation.stderr = stdout[:_STDOUT_MOST], stderr[:_STDERR_MOST]
            self._set(invocation, status, status)

    def _expire(self, invocation: CommandInvocation) -> None:
        with self._world.lock:
            if invocation.status == "Pending":
                self._set(invocation, "TimedOut", "DeliveryTimedOut")

    def _overrun(self, invocation: CommandInvocation) -> None:
        with self._world.lock:
            if invocation.status not in TERMINAL:
                self._set(invocation, "TimedOut", "ExecutionTimedOut")

    def _state(self, instance: str) -> str:
        try:
            return self._world.ec2.get_instance(instance).state
        except InvalidInstanceIdError:
            return "unknown"

    def _set(self, invocation: CommandInvocation, status: str, details: str) -> None:
        if invocation.status == status:
            return
        invocation.status, invocation.details = status, details
        if status == "InProgress" and invocation.started is None:
            invocation.started = time.time()
        if status in TERMINAL:
            invocation.ended = time.time()
        self._tell(invocation)

    def _tell(self, invocation: CommandInvocation) -> None:
        command = invocation.command
        detail = {
            "command-id": command.id,
            "document-name": command.document,
            "instance-id": invocation.instance,
            "requested-date-time": _iso(command.sent),
            "status": invocation.status,
        }
        resources = [self._world.arn("ec2", f"instance/{invocation.instance}")]
        kind = "EC2 Command Invocation Status-change Notification"
        self._world.bus.native("aws.ssm", kind, detail, resources)


def send(world: World, request: Request) -> dict[str, Any]:
    """SendCommand."""
    wanted = request.parameters
    content = documents.content(world, wanted["DocumentName"])
    values = documents.parameters(content, wanted.get("Parameters") or {})
    seconds = float(wanted.get("TimeoutSeconds") or _DELIVERY_SECONDS)
    if seconds < 30:
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
        "ExecutionStartDateTime": _iso(invocation.started),
        "ExecutionElapsedTime": f"PT{max(0.0, elapsed):.3f}S",
        "ExecutionEndDateTime": _iso(invocation.ended),
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
    bad = [
        i
        for i in instances
        if i not in world.commands.managed or world.commands._state(i) not in valid
    ]
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
    online = world.commands._state(instance) == "running"
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


def _iso(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
