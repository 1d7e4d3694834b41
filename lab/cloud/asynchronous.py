"""Asynchronous invocations of Lambda functions: accepted, tried again, given up.

One that fails is tried again as its EventInvokeConfig says, after 1 and 2 minutes, and what
fails for good goes to its on-failure destination (Lambda developer guide, "How Lambda handles
errors and retries with asynchronous invocation").
"""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.awslambda.models import LambdaFunction

from lab.cloud.environment import Invocation
from lab.cloud.targets import Undeliverable, publish, queue

if TYPE_CHECKING:
    from lab.cloud.functions import Functions
    from lab.cloud.world import World

_THROTTLED_SECONDS = 1.0
"""Between tries while all environments are busy; Lambda tries throttled events for six hours."""
_RETRIES_MOST = 2
_AGE_MOST_SECONDS = 6 * 3600


class Asynchronous:
    """The queue in front of the functions."""

    def __init__(self, world: World, functions: Functions) -> None:
        self._world = world
        self._functions = functions
        self.failed: deque[tuple[str, bytes, str]] = deque(maxlen=1_000)

    def accept(self, arn: str, payload: bytes, rule_arn: str = "") -> None:
        """Take an event to be handled later; an event of a rule needs the rule's permission."""
        function = self._functions.find(arn)
        if function is None:
            raise Undeliverable("RESOURCE_NOT_FOUND", f"Function not found: {arn}")
        if rule_arn and not _permits(function, rule_arn):
            text = f"{rule_arn} has no permission to invoke {function.function_name}"
            raise Undeliverable("NO_PERMISSIONS", text)
        self._try(function.function_name, payload, 1, time.monotonic())

    def _try(self, name: str, payload: bytes, attempt: int, since: float) -> None:
        self._world.timeline.after(0.0, lambda: self._attempt(name, payload, attempt, since))

    def _attempt(self, name: str, payload: bytes, attempt: int, since: float) -> None:
        function = self._functions.find(name)
        if function is None or self._world.stopped.is_set():
            return
        config = _config(function)
        age_most = float(config.get("MaximumEventAgeInSeconds", _AGE_MOST_SECONDS))
        if time.monotonic() - since > age_most:
            self._give_up(function, payload, "EventAgeExceeded", attempt, None)
            return
        invocation = self._functions.run(function, payload)
        if invocation is None:
            again = self._world.timeline.after
            again(_THROTTLED_SECONDS, lambda: self._attempt(name, payload, attempt, since))
        elif invocation.failed and not self._world.stopped.is_set():
            self._retry(function, payload, attempt, since, invocation)

    def _retry(
        self,
        function: LambdaFunction,
        payload: bytes,
        attempt: int,
        since: float,
        invocation: Invocation,
    ) -> None:
        retries = int(_config(function).get("MaximumRetryAttempts", _RETRIES_MOST))
        if attempt > retries:
            self._give_up(function, payload, "RetriesExhausted", attempt, invocation)
            return
        waits = self._world.latencies.retries
        wait = waits[min(attempt, len(waits)) - 1]
        name = function.function_name
        again = self._world.timeline.after
        again(wait, lambda: self._attempt(name, payload, attempt + 1, since))

    def _give_up(
        self,
        function: LambdaFunction,
        payload: bytes,
        condition: str,
        attempts: int,
        invocation: Invocation | None,
    ) -> None:
        self.failed.append((function.function_name, payload, condition))
        destination = (_config(function).get("DestinationConfig") or {}).get("OnFailure") or {}
        arn = str(destination.get("Destination") or "")
        if not arn:
            return
        record = json.dumps(_record(function, payload, condition, attempts, invocation))
        send = {"sqs": queue, "sns": publish}.get(arn.split(":")[2])
        if send is None:
            self._world.timeline.problems.append(f"no on-failure destination of this kind: {arn}")
        else:
            send(self._world, arn, record)


def _config(function: LambdaFunction) -> dict[str, Any]:
    """Its EventInvokeConfig: the latest one put (moto keeps them all and shows the first)."""
    configs = function.event_invoke_config
    return configs[-1].config if configs else {}


def _permits(function: LambdaFunction, rule_arn: str) -> bool:
    """Whether the function's resource policy lets this rule of EventBridge invoke it."""
    for statement in function.policy.statements:
        principal = statement.get("Principal")
        service = principal.get("Service") if isinstance(principal, dict) else principal
        if service != "events.amazonaws.com":
            continue
        condition = statement.get("Condition") or {}
        source = (condition.get("ArnLike") or {}).get("AWS:SourceArn")
        if source in (None, rule_arn):
            return True
    return False


def _record(
    function: LambdaFunction,
    payload: bytes,
    condition: str,
    attempts: int,
    invocation: Invocation | None,
) -> dict[str, Any]:
    """The invocation record that destinations get."""
    now = datetime.now(UTC)
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z",
        "requestContext": {
            "requestId": invocation.request_id if invocation else str(uuid.uuid4()),
            "functionArn": f"{function.function_arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": _decoded(payload),
    }
    if invocation is not None:
        record["responseContext"] = {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        }
        record["responsePayload"] = _decoded(invocation.body)
    return record


def _decoded(body: bytes) -> Any:
    """What was sent as JSON, as it is; anything else as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
