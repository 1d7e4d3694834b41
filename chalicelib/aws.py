"""EC2 and SSM: every effect of Baton goes through `perform`, one call, sent once.

None of these calls takes a client token, so a call that failed may have happened; `aws_errors`
says what is known of it. No call here is repeated by the SDK. What EC2 shows is in `aws_observe`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws_errors import classify, is_unsupported
from chalicelib.clients import Client
from chalicelib.model import (
    Action,
    Attach,
    Cluster,
    Command,
    Detach,
    Fence,
    Move,
    Outcome,
    Send,
    Start,
)

DELIVERY_SECONDS: Final = 30
"""How long SSM tries to deliver a command: the least that it takes. The command's own deadline,
which the node checks, is what counts."""

NOT_A_MEMBER: Final = "not-a-member"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a call. `code` and `text`: AWS's; `id`: SSM's command id, if there is one."""

    outcome: Outcome
    code: str = ""
    id: str | None = None
    text: str = field(default="", compare=False)


class Cloud:
    """EC2 and SSM as one deployment sees them."""

    def __init__(self, ec2: Client, ssm: Client, stage: str) -> None:
        self.ec2 = ec2
        self.ssm = ssm
        self.document = f"baton-{stage}-orchestrator"

    def perform(self, cluster: Cluster, action: Action) -> Result:
        """Perform one action and say what became of it. Raises nothing that AWS says."""
        match action:
            case Send(command):
                return self._send(cluster, command)
            case Detach(volume, node, force):
                parameters = {"VolumeId": volume, "InstanceId": node, "Force": force}
                return self._call("DetachVolume", self.ec2.detach_volume, parameters)
            case Attach(volume, node, device):
                parameters = {"VolumeId": volume, "InstanceId": node, "Device": device}
                return self._call("AttachVolume", self.ec2.attach_volume, parameters)
            case Move():
                return self._move(action)
            case Fence(node):
                return self._fence(cluster, node)
            case Start(node):
                parameters = {"InstanceIds": [node]}
                return self._call("StartInstances", self.ec2.start_instances, parameters)

    def _call(self, operation: str, method: Callable[..., Any], parameters: dict[str, Any]) -> Result:
        """Send one call, once."""
        try:
            method(**parameters)
        except (ClientError, BotoCoreError) as error:
            return _failed(operation, error)
        return Result(Outcome.DONE)

    def _move(self, action: Move) -> Result:
        # One call with AllowReassignment: to unassign first would leave the address free for a
        # moment, and EC2 could hand it to a stranger. Several addresses are all or nothing.
        parameters = {
            "NetworkInterfaceId": action.interface,
            "PrivateIpAddresses": list(action.addresses),
            "AllowReassignment": True,
        }
        return self._call("AssignPrivateIpAddresses", self.ec2.assign_private_ip_addresses, parameters)

    def _fence(self, cluster: Cluster, node: str) -> Result:
        """Pull the plug: Force alone would still try a graceful stop first."""
        if node not in cluster.nodes:
            return Result(Outcome.REFUSED, NOT_A_MEMBER)
        parameters = {"InstanceIds": [node], "Force": True}
        if not self._can_skip_shutdown():
            return self._call("StopInstances", self.ec2.stop_instances, parameters)
        try:
            self.ec2.stop_instances(**parameters, SkipOsShutdown=True)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and is_unsupported(error):
                return self._call("StopInstances", self.ec2.stop_instances, parameters)
            return _failed("StopInstances", error)
        return Result(Outcome.DONE)

    def _can_skip_shutdown(self) -> bool:
        """Whether the SDK that Lambda happens to hold knows SkipOsShutdown, new in 2025."""
        model = self.ec2.meta.service_model.operation_model("StopInstances")
        return "SkipOsShutdown" in model.input_shape.members

    def _send(self, cluster: Cluster, command: Command) -> Result:
        parameters = {
            "DocumentName": self.document,
            "InstanceIds": [command.node],
            "TimeoutSeconds": DELIVERY_SECONDS,
            "Comment": f"{cluster.name} epoch {command.epoch}: {command.verb}",
            "Parameters": {name: [text] for name, text in _arguments(cluster, command).items()},
        }
        try:
            sent = self.ssm.send_command(**parameters)
        except (ClientError, BotoCoreError) as error:
            return _failed("SendCommand", error)
        return Result(Outcome.DONE, id=str(sent["Command"]["CommandId"]))

    def members(self, key: str, value: str) -> tuple[str, ...]:
        """The instances that carry a tag, in the order of their ids; terminated ones too, for
        they may have been owners a moment ago."""
        filters = [{"Name": f"tag:{key}", "Values": [value]}]
        pages = self.ec2.get_paginator("describe_instances").paginate(Filters=filters)
        found = [i["InstanceId"] for p in pages for r in p["Reservations"] for i in r["Instances"]]
        return tuple(sorted(found))


def _arguments(cluster: Cluster, command: Command) -> dict[str, str]:
    # A document that is one version older takes no parameter that it does not know.
    ready = {"ready": command.ready} if command.ready else {}
    return ready | {
        "action": command.verb.value,
        "cluster": cluster.name,
        "epoch": str(command.epoch),
        "boot": command.boot,
        "volumes": ",".join(command.volumes or cluster.volumes),
        "deadline": f"{command.deadline:.3f}",
        "unlessMaster": "true" if command.unless_master else "false",
    }


def _failed(operation: str, error: Exception) -> Result:
    verdict = classify(operation, error)
    return Result(verdict.outcome, verdict.code, text=verdict.text)
