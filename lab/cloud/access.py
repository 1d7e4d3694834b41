"""What IAM refuses.

A node may publish under its own name, and nothing else: the node role's policy binds
`events:source` to `baton.<stage>.node/${aws:userid}`; with an instance profile aws:userid is
`<role id>:<instance id>` (IAM user guide, "IAM policy elements: Variables and tags";
EventBridge user guide, "Using conditions": `events:source` is checked for every entry, and one
that is not allowed refuses the whole call).

Whoever it is, the default bus's policy may deny it (bus_policy.py).

A function may call the operations that a policy of its role names. Resources and conditions of
those policies are not judged here: the deployment's own tests do that with a real evaluator.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator
from typing import Any

from moto.iam.models import iam_backends

from lab.cloud import bus_policy
from lab.cloud.calls import Call
from lab.cloud.world import World

_SOURCE = re.compile(r"baton\.[a-z][a-z0-9-]{0,15}\.node/(?P<user>[^/]+)")
_ACTIONS = {("lambda", "Invoke"): "InvokeFunction"}
"""Where the action has another name than the operation."""
_SEVERAL = {"TransactWriteItems", "TransactGetItems"}
"""These need the rights of the operations they are made of."""


def refusal(world: World, call: Call) -> tuple[str, str] | None:
    """The error a call is refused with, None if it is allowed."""
    if (call.service, call.operation) == ("sts", "GetCallerIdentity"):
        return None
    if (call.service, call.operation) == ("events", "PutEvents") and bus_policy.denies(world, call):
        text = "User is not authorized to perform: events:PutEvents with an explicit deny"
        return "AccessDeniedException", f"{text} in a resource-based policy"
    if call.principal.kind == "operator" or _allowed(world, call):
        return None
    user = f"arn:aws:sts::{world.settings.account}:assumed-role/{call.principal.role}"
    text = (
        f"User: {user}/{call.principal.name} is not authorized to perform: "
        f"{call.service}:{call.operation} because no identity-based policy allows it"
    )
    code = "UnauthorizedOperation" if call.service == "ec2" else "AccessDeniedException"
    return code, text


def _allowed(world: World, call: Call) -> bool:
    if call.principal.kind == "node":
        return (call.service, call.operation) == ("events", "PutEvents") and _own(call)
    if call.operation in _SEVERAL:
        return True
    name = _ACTIONS.get((call.service, call.operation), call.operation)
    action = f"{call.service}:{name}".lower()
    with world.lock:
        allowed = list(_actions(world, call.principal.role))
    return any(fnmatch.fnmatchcase(action, pattern.lower()) for pattern in allowed)


def _actions(world: World, role_name: str) -> Iterator[str]:
    """Patterns of the actions that the role's policies allow."""
    roles = iam_backends[world.settings.account]["aws"].roles.values()
    for role in [r for r in roles if r.name == role_name]:
        documents = [*role.policies.values(), *(p.document for p in role.managed_policies.values())]
        for document in documents:
            for statement in _list(_policy(document).get("Statement")):
                if statement.get("Effect") == "Allow":
                    yield from _list(statement.get("Action"))


def _policy(document: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document) if isinstance(document, str) else document
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _own(call: Call) -> bool:
    """Whether every entry names the caller as its source."""
    entries = call.parameters.get("Entries") or []
    sources = [_SOURCE.fullmatch(str(entry.get("Source", ""))) for entry in entries]
    return bool(sources) and all(
        found is not None and found["user"] == call.principal.user_id for found in sources
    )
