"""What IAM refuses: a node may publish under its own name, and nothing else.

The node role's policy binds `events:source` to `baton.<stage>.node/${aws:userid}`; with an
instance profile aws:userid is `<role id>:<instance id>` (IAM user guide, "Where you can use
policy variables"; EventBridge user guide, "Using IAM policy conditions": `events:source` is
checked for every entry, and one that is not allowed refuses the whole call).
"""

from __future__ import annotations

import re

from lab.cloud.calls import Call
from lab.cloud.world import World

_SOURCE = re.compile(r"baton\.[a-z][a-z0-9-]{0,15}\.node/(?P<user>[^/]+)")


def refusal(world: World, call: Call) -> tuple[str, str] | None:
    """The error a call is refused with, None if it is allowed."""
    if call.principal.kind != "node":
        return None
    if (call.service, call.operation) == ("sts", "GetCallerIdentity"):
        return None
    if (call.service, call.operation) == ("events", "PutEvents") and _own(call):
        return None
    user = f"arn:aws:sts::{world.settings.account}:assumed-role/{call.principal.role}"
    text = (
        f"User: {user}/{call.principal.name} is not authorized to perform: "
        f"{call.service}:{call.operation} because no identity-based policy allows it"
    )
    code = "UnauthorizedOperation" if call.service == "ec2" else "AccessDeniedException"
    return code, text


def _own(call: Call) -> bool:
    """Whether every entry names the caller as its source."""
    entries = call.parameters.get("Entries") or []
    sources = [_SOURCE.fullmatch(str(entry.get("Source", ""))) for entry in entries]
    return bool(sources) and all(
        found is not None and found["user"] == call.principal.user_id for found in sources
    )
