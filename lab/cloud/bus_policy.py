"""The default bus's policy: what it denies, whoever asks.

moto keeps the policy that PutPermission gives it and judges nothing by it, and its CloudFormation
knows no AWS::Events::EventBusPolicy. Here statements that deny are judged, by the two conditions
that Baton's own statement has; one with another condition fails the call with a sentence, so that
nobody takes for granted what was not judged.
"""

from __future__ import annotations

import fnmatch
from typing import Any, Final

from moto.core.common_models import CloudFormationModel
from moto.events.models import EventBusPolicyStatement, events_backends

from lab.cloud.calls import Call
from lab.cloud.world import World

BUS: Final = "default"
_KNOWN: Final = {"ForAnyValue:StringLike": {"events:source"}, "ArnNotEquals": {"aws:PrincipalArn"}}


def denies(world: World, call: Call) -> bool:
    """Whether a statement of the bus's policy denies this PutEvents."""
    arn, entries = _arn(world, call), call.parameters.get("Entries") or []
    sources = [str(entry.get("Source", "")) for entry in entries]
    bus = events_backends[world.settings.account][world.settings.region].event_buses.get(BUS)
    statements = list(bus._statements.values()) if bus else []
    return any(_matches(s.condition or {}, arn, sources) for s in statements if s.effect == "Deny")


def _matches(condition: dict[str, Any], arn: str, sources: list[str]) -> bool:
    if {operator: set(keys) for operator, keys in condition.items()} != _KNOWN:
        raise NotImplementedError(f"the lab judges no such condition of a bus's policy: {condition}")
    pattern = condition["ForAnyValue:StringLike"]["events:source"]
    forged = any(fnmatch.fnmatchcase(source, pattern) for source in sources)
    return forged and arn != condition["ArnNotEquals"]["aws:PrincipalArn"]


def _arn(world: World, call: Call) -> str:
    """The principal as aws:PrincipalArn shows it: of a session, its role."""
    of = "user/operator" if call.principal.kind == "operator" else f"role/{call.principal.role}"
    return f"arn:aws:iam::{world.settings.account}:{of}"


class BusPolicy(CloudFormationModel):  # type: ignore[misc]
    """AWS::Events::EventBusPolicy, by which CloudFormation keeps one statement of a bus."""

    def __init__(self, id: str) -> None:
        self.id = id

    @property
    def physical_resource_id(self) -> str:
        """What `Ref` gives."""
        return self.id

    @staticmethod
    def cloudformation_name_type() -> str:
        """It has no name of its own."""
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        """CloudFormation's name of the kind."""
        return "AWS::Events::EventBusPolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> BusPolicy:
        """Put the statement; those of others stay."""
        given = cloudformation_json["Properties"]
        statement = EventBusPolicyStatement.from_dict({"Sid": given["StatementId"], **given["Statement"]})
        _statements(account_id, region_name)[given["StatementId"]] = statement
        return cls(given["StatementId"])

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> BusPolicy:
        """Put it again."""
        return cls.create_from_cloudformation_json(
            new_resource_name, cloudformation_json, account_id, region_name
        )

    @classmethod
    def delete_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str
    ) -> None:
        """Take it away."""
        _statements(account_id, region_name).pop(resource_name, None)


def _statements(account: str, region: str) -> dict[str, EventBusPolicyStatement]:
    bus = events_backends[account][region].event_buses[BUS]
    found: dict[str, EventBusPolicyStatement] = bus._statements
    return found
