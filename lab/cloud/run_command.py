"""SSM Run Command: Pending, InProgress, then what the node's agent says, when it says it.

moto answers Success at once, with any document, and adds every instance of the Region to the
command; ListCommandInvocations, CancelCommand and DescribeInstanceInformation are missing. On
AWS the invocation is not there yet right after SendCommand (InvocationDoesNotExist), a dead
agent leaves it Pending or InProgress, and each change is an event on the default bus (Systems
Manager user guide, "Understanding command statuses" and "Monitoring Systems Manager events").
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.ec2.exceptions import InvalidInstanceIdError

from lab.cloud import documents
from lab.cloud.machinery import AgentUnreachable, Delivery
from lab.cloud.world import World

TERMINAL = {"Success", "Failed", "TimedOut", "Cancelled"}
_STDOUT_MOST, _STDERR_MOST = 24_000, 8_000
"""Characters of output that GetCommandInvocation gives (AWS cuts there)."""
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
            running = self.state(invocation.instance) == "running"
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
                world.timeline.after(wait, lambda: self._reported(invocation, status, code, stdout, stderr))

        delivery = Delivery(command.id, command.document, command.content, command.parameters, report)
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

    def state(self, instance: str) -> str:
        try:
            return str(self._world.ec2.get_instance(instance).state)
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
            "requested-date-time": iso(command.sent),
            "status": invocation.status,
        }
        resources = [self._world.arn("ec2", f"instance/{invocation.instance}")]
        kind = "EC2 Command Invocation Status-change Notification"
        self._world.bus.native("aws.ssm", kind, detail, resources)


def iso(at: float | None) -> str:
    """A moment as SSM writes it; "" if it has not come."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
