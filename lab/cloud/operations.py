"""Which API operations the lab performs itself, by service and name. The rest is moto's."""

from __future__ import annotations

from lab.cloud import addresses, bus, functions, instances, run_command, volumes
from lab.cloud.world import Operation

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("ec2", "AttachVolume"): volumes.attach,
    ("ec2", "DetachVolume"): volumes.detach,
    ("ec2", "AssignPrivateIpAddresses"): addresses.assign,
    ("ec2", "UnassignPrivateIpAddresses"): addresses.unassign,
    ("ec2", "RunInstances"): instances.run,
    ("ec2", "StartInstances"): instances.start,
    ("ec2", "StopInstances"): instances.stop,
    ("ec2", "RebootInstances"): instances.reboot,
    ("ec2", "TerminateInstances"): instances.terminate,
    ("events", "PutEvents"): bus.put_events,
    ("lambda", "Invoke"): functions.invoke,
    ("ssm", "SendCommand"): run_command.send,
    ("ssm", "GetCommandInvocation"): run_command.get_invocation,
    ("ssm", "ListCommandInvocations"): run_command.list_invocations,
    ("ssm", "ListCommands"): run_command.list_commands,
    ("ssm", "CancelCommand"): run_command.cancel,
    ("ssm", "DescribeInstanceInformation"): run_command.describe_instances,
}
