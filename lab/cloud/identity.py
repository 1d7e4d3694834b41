"""STS: who the caller is. moto knows no sessions but its own."""

from __future__ import annotations

from typing import Any

from lab.cloud.world import Request, World


def get_caller_identity(world: World, request: Request) -> dict[str, Any]:
    """GetCallerIdentity."""
    caller, account = request.call.principal, world.settings.account
    if caller.kind == "operator":
        user = {"UserId": "AIDALABOPERATOR", "Arn": f"arn:aws:iam::{account}:user/operator"}
        return {"Account": account, **user}
    session = f"arn:aws:sts::{account}:assumed-role/{caller.role}/{caller.name}"
    return {"Account": account, "UserId": caller.user_id, "Arn": session}
