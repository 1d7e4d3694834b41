"""The support stack in CloudFormation: make it, bring it up to date, remove it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from infra import template
from infra.account import Account, Trouble, code
from infra.names import Names
from infra.steps import Say
from infra.support import Support

POLL_SECONDS: Final = 3.0
STACK_SECONDS: Final = 900.0
"""Tables and roles take one to three minutes; a stack that takes longer is stuck."""

_GOOD: Final = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
_DEAD: Final = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}
"""A stack that was never finished: CloudFormation can only remove it."""


@dataclass
class SupportStack:
    """The step that makes tables, queue, documents, node role, logs and alarms."""

    account: Account
    names: Names
    parameters: Mapping[str, str] = field(default_factory=dict)
    documents: Path = template.DOCUMENTS
    poll_seconds: float = POLL_SECONDS
    title: str = "support stack"

    def changes(self) -> list[str]:
        """The stack's resources that would be made, changed or removed."""
        stack = self._stack()
        status = stack["StackStatus"] if stack else ""
        if status.endswith("_IN_PROGRESS"):
            raise Trouble(
                f"The stack {self.names.stack} is {status}: somebody else is deploying, or a"
                " deployment goes on. Nothing was changed. Wait until it ends, and repeat."
            )
        wanted = template.rendered(self.documents)
        if stack is None or status in _DEAD:
            self._refuse_two_regions()
            first = [f"remove the half-made stack ({status})"] if stack else []
            return first + [f"create {line}" for line in self._lines(wanted)]
        if status not in _GOOD:
            raise Trouble(
                f"The stack {self.names.stack} is {status}. Nothing was changed. CloudFormation's"
                " console says why; continue or undo its update there, and repeat."
            )
        lines = self._differences(wanted) + self._new_parameters(stack)
        if not lines and status == "UPDATE_ROLLBACK_COMPLETE":
            lines = ["repeat the last update, which was rolled back"]
        return lines

    def carry_out(self, say: Say) -> None:
        """Create or update, and wait for the end."""
        client = self.account.client("cloudformation")
        stack = self._stack()
        if stack and stack["StackStatus"] in _DEAD:
            self.remove(say)
            stack = None
        arguments = {
            "StackName": self.names.stack,
            "TemplateBody": template.body(self.documents),
            "Parameters": self._parameters(),
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [{"Key": "baton:stage", "Value": self.names.stage}],
        }
        try:
            if stack is None:
                client.create_stack(**arguments, OnFailure="ROLLBACK")
            else:
                client.update_stack(**arguments)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            return
        self._wait(say)

    def outputs(self) -> Support | None:
        """What the stack's outputs say; None as long as there is no finished stack."""
        stack = self._stack()
        if stack is None or stack["StackStatus"] not in _GOOD:
            return None
        values = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
        return Support.from_outputs(self.names.stage, values)

    def remove(self, say: Say) -> None:
        """Delete the stack and wait until it is gone."""
        self.account.client("cloudformation").delete_stack(StackName=self.names.stack)
        deadline = time.monotonic() + STACK_SECONDS
        while stack := self._stack():
            status = stack["StackStatus"]
            if status == "DELETE_FAILED" or time.monotonic() > deadline:
                raise Trouble(
                    f"The stack {self.names.stack} was not removed ({status}:"
                    f" {stack.get('StackStatusReason', 'no reason given')}). Repeat the command;"
                    " if it fails again, CloudFormation's console names the resource."
                )
            say(f"      {self.names.stack}: {status}")
            time.sleep(self.poll_seconds)

    def exists(self) -> bool:
        """Whether there is a stack, finished or not."""
        return self._stack() is not None

    def _stack(self) -> dict[str, Any] | None:
        client = self.account.client("cloudformation")
        try:
            stacks = client.describe_stacks(StackName=self.names.stack)["Stacks"]
        except ClientError as error:
            if code(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
        found: dict[str, Any] | None = stacks[0] if stacks else None
        return None if found and found["StackStatus"] == "DELETE_COMPLETE" else found

    def _refuse_two_regions(self) -> None:
        """Roles are the same in every region: a second stage of this name would fail half made, and
        its functions' roles be those of the first."""
        region = self._region_of_role()
        if region not in (None, self.account.region):
            raise Trouble(
                f"Stage {self.names.stage} is in region {region} of account {self.account.id}, and this"
                f" is {self.account.region}. Nothing was changed. Set AWS_REGION, or choose another"
                " stage name: roles are one for all regions."
            )

    def _region_of_role(self) -> str | None:
        """The region that the node role's policy names; None if there is no such role."""
        client = self.account.client("iam")
        try:
            found = client.get_role_policy(RoleName=self.names.node_role, PolicyName="node")
        except client.exceptions.NoSuchEntityException:
            return None
        bus = re.search(r"arn:[\w-]+:events:([\w-]+):", json.dumps(found["PolicyDocument"]))
        return bus[1] if bus else None

    def _wait(self, say: Say) -> None:
        deadline = time.monotonic() + STACK_SECONDS
        while True:
            stack = self._stack() or {"StackStatus": "gone"}
            status = stack["StackStatus"]
            if status in _GOOD - {"UPDATE_ROLLBACK_COMPLETE"}:
                return
            if not status.endswith("_IN_PROGRESS") or time.monotonic() > deadline:
                raise Trouble(
                    f"The stack {self.names.stack} did not get ready ({status}):"
                    f" {self._first_failure()} Mend that and run the same command again."
                )
            say(f"      {self.names.stack}: {status}")
            time.sleep(self.poll_seconds)

    def _first_failure(self) -> str:
        client = self.account.client("cloudformation")
        events = client.describe_stack_events(StackName=self.names.stack)["StackEvents"]
        failed = [e for e in events if e.get("ResourceStatus", "").endswith("_FAILED")]
        if not failed:
            return "CloudFormation gives no reason."
        first = failed[-1]  # events come newest first
        return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', '')}."

    def _differences(self, wanted: Mapping[str, Any]) -> list[str]:
        client = self.account.client("cloudformation")
        body = client.get_template(StackName=self.names.stack)["TemplateBody"]
        present = (json.loads(body) if isinstance(body, str) else body)["Resources"]
        new = wanted["Resources"]
        lines = [f"create {k} ({new[k]['Type']})" for k in new if k not in present]
        lines += [f"remove {k} ({present[k]['Type']})" for k in present if k not in new]
        both = [k for k in new if k in present]
        return lines + [f"change {k} ({new[k]['Type']})" for k in both if new[k] != present[k]]

    def _new_parameters(self, stack: Mapping[str, Any]) -> list[str]:
        present = {p["ParameterKey"]: p["ParameterValue"] for p in stack.get("Parameters", [])}
        return [
            f"set {name} to {value!r}, was {present.get(name)!r}"
            for name, value in self.parameters.items()
            if present.get(name) != value
        ]

    def _parameters(self) -> list[dict[str, Any]]:
        """Ours; those not given keep the value they have."""
        given = {"Stage": self.names.stage, **self.parameters}
        stack = self._stack() or {}
        values: list[dict[str, Any]] = [
            {"ParameterKey": name, "ParameterValue": value} for name, value in given.items()
        ]
        kept = [p["ParameterKey"] for p in stack.get("Parameters", [])]
        return values + [
            {"ParameterKey": name, "UsePreviousValue": True} for name in kept if name not in given
        ]

    def _lines(self, content: Mapping[str, Any]) -> list[str]:
        """The resources of a new stack; the only condition is a mail address for alarms."""
        is_mailed = bool(self.parameters.get("AlarmEmail"))
        made = {n: r for n, r in content["Resources"].items() if is_mailed or "Condition" not in r}
        return [f"{name} ({r['Type']})" for name, r in made.items()]
