"""Which API operations the lab performs itself, by service and name. The rest is moto's."""

from __future__ import annotations

from lab.cloud import addresses, bus, functions, identity, instances, ssm, volumes
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
    ("sts", "GetCallerIdentity"): identity.get_caller_identity,
    ("ssm", "SendCommand"): ssm.send,
    ("ssm", "GetCommandInvocation"): ssm.get_invocation,
    ("ssm", "ListCommandInvocations"): ssm.list_invocations,
    ("ssm", "ListCommands"): ssm.list_commands,
    ("ssm", "CancelCommand"): ssm.cancel,
    ("ssm", "DescribeInstanceInformation"): ssm.describe_instances,
}
