"""AWS clients with explicit timeouts and retries: a hung endpoint must not hang a hand-over.

botocore waits 60 s for a connection and again for an answer, and sends a call up to three times.
Both are wrong here: the lease is shorter than that, and AttachVolume, DetachVolume, SendCommand
and AssignPrivateIpAddresses take no client token, so that a repeated call may act twice.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final, TypeAlias

import boto3
from botocore.config import Config

from chalicelib import timing

Client: TypeAlias = Any
"""botocore builds its clients at run time, from the service's description."""

CONNECT_SECONDS: Final = 1.0
READ_SECONDS: Final = timing.CALL_SECONDS - CONNECT_SECONDS
CONNECTIONS_MOST: Final = 16
"""One for each thread of a driver; more would only meet the quota of EC2 sooner."""

RESENT_READ_SECONDS: Final = 2.0
"""For calls that are sent up to three times: all of them together stay well within the lease."""

_RESENT: Final = frozenset({"dynamodb", "ssm-parameters", "events"})
"""What may be sent again: a conditional write recognises its own first copy, a read changes
nothing, and a Baton event that arrives twice only says the same twice."""


@cache
def client(purpose: str) -> Client:
    """The process's client for a service; `ssm-parameters` is SSM for repeatable reads."""
    is_resent = purpose in _RESENT
    attempts = 3 if is_resent else 1
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=RESENT_READ_SECONDS if is_resent else READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=CONNECTIONS_MOST,
    )
    service = purpose.partition("-")[0]
    return boto3.client(service, region_name=region(), config=config)  # type: ignore[call-overload]


def region() -> str:
    """The region that Lambda, or the operator's environment, names."""
    name = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not name:
        raise RuntimeError("no AWS region: set AWS_REGION to the region that the cluster lives in")
    return name
