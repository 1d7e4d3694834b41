"""Lambda: environments for functions, synchronous and asynchronous invocations.

moto runs Lambda functions in Docker only. Here the deployed zip is run by `environment.py`.
An asynchronous invocation is retried as its EventInvokeConfig says, after 1 and 2 minutes, and
what fails for good goes to its on-failure destination (Lambda developer guide, "Error handling
for asynchronous invocation").
"""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.iam.models import iam_backends

from lab.cloud.calls import Principal
from lab.cloud.environment import Environment, Invocation, Program
from lab.cloud.targets import Undeliverable, publish, queue
from lab.cloud.world import Request, World

_THROTTLED_SECONDS = 1.0
"""Between tries while all environments are busy; Lambda tries throttled events for six hours."""
_RETRIES_MOST = 2
_AGE_MOST_SECONDS = 6 * 3600


class Functions:
    """The functions of the cloud. `invocations` holds (function, invocation) of the latest."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._idle: dict[Program, list[Environment]] = {}
        self._busy: dict[str, set[Environment]] = {}
        self._closed = False
        self.invocations: deque[tuple[str, Invocation]] = deque(maxlen=2_000)
        self.failed: deque[tuple[str, bytes, str]] = deque(maxlen=1_000)
        """(function, event, condition) of asynchronous invocations that failed for good."""

    def find(self, name_or_arn: str) -> LambdaFunction | None:
        """The function as moto holds it, None if there is none."""
        name = name_or_arn.split(":function:")[-1].split(":")[0]
        settings = self._world.settings
        with self._world.lock:
            functions = lambda_backends[settings.account][settings.region].list_functions()
            return next((f for f in functions if f.function_name == name), None)

    def run(self, function: LambdaFunction, payload: bytes) -> Invocation | None:
        """Invoke and wait; None if it is throttled."""
        environment = self._take(function)
        if environment is None:
            return None
        try:
            self._world.lambda_log.append(f"{function.function_name} START")
            invocation = environment.invoke(payload)
        finally:
            self._give_back(environment)
        self.invocations.append((function.function_name, invocation))
        text = f"{function.function_name} END {invocation.kind} {invocation.seconds * 1000:.0f} ms"
        self._world.lambda_log.append(text)
        return invocation

    def accept(self, arn: str, payload: bytes, rule_arn: str = "") -> None:
        """Take an event to be handled later; an event of a rule needs the rule's permission."""
        function = self.find(arn)
        if function is None:
            raise Undeliverable("RESOURCE_NOT_FOUND", f"Function not found: {arn}")
        if rule_arn and not _permits(function, rule_arn):
            text = f"{rule_arn} has no permission to invoke {function.function_name}"
            raise Undeliverable("NO_PERMISSIONS", text)
        self._try(function.function_name, payload, 1, time.monotonic())

    def close(self) -> None:
        """Kill every environment."""
        with self._lock:
            self._closed = True
            every = [e for pool in self._idle.values() for e in pool]
            every += [e for busy in self._busy.values() for e in busy]
            self._idle.clear()
        for environment in every:
            environment.close()

    def recycle(self) -> None:
        """Lambda throws idle environments away: the next invocations start cold."""
        with self._lock:
            idle = [e for pool in self._idle.values() for e in pool]
            self._idle.clear()
        for environment in idle:
            environment.close()

    def _try(self, name: str, payload: bytes, attempt: int, since: float) -> None:
        self._world.timeline.after(0.0, lambda: self._attempt(name, payload, attempt, since))

    def _attempt(self, name: str, payload: bytes, attempt: int, since: float) -> None:
        function = self.find(name)
        if function is None or self._closed:
            return
        config = _config(function)
        age_most = float(config.get("MaximumEventAgeInSeconds", _AGE_MOST_SECONDS))
        if time.monotonic() - since > age_most:
            self._give_up(function, payload, "EventAgeExceeded", attempt, None)
            return
        invocation = self.run(function, payload)
        if invocation is None:
            again = self._world.timeline.after
            again(_THROTTLED_SECONDS, lambda: self._attempt(name, payload, attempt, since))
        elif invocation.failed and not self._closed:
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

    def _take(self, function: LambdaFunction) -> Environment | None:
        program = _program(function)
        stale: list[Environment] = []
        try:
            with self._lock:
                if self._closed:
                    return None
                stale = self._outdated(program)
                idle = self._idle.setdefault(program, [])
                while idle:
                    environment = idle.pop()
                    if environment.alive:
                        return self._mark(environment)
                    stale.append(environment)
                if len(self._busy.get(program.name, ())) >= self._limit(function):
                    return None
                return self._mark(self._make(program, function))
        finally:
            for environment in stale:
                environment.close()

    def _limit(self, function: LambdaFunction) -> int:
        reserved = function.reserved_concurrency
        return self._world.settings.concurrency if reserved is None else int(reserved)

    def _outdated(self, program: Program) -> list[Environment]:
        """Idle environments of the function's former code or configuration."""
        old = [p for p in self._idle if p.name == program.name and p != program]
        return [environment for p in old for environment in self._idle.pop(p)]

    def _mark(self, environment: Environment) -> Environment:
        self._busy.setdefault(environment.program.name, set()).add(environment)
        return environment

    def _give_back(self, environment: Environment) -> None:
        with self._lock:
            self._busy[environment.program.name].discard(environment)
            if environment.alive and not self._closed:
                self._idle.setdefault(environment.program, []).append(environment)
                return
        environment.close()

    def _make(self, program: Program, function: LambdaFunction) -> Environment:
        world = self._world
        role = str(function.role).split("/")[-1]
        user_id = f"{_role_id(world, role)}:{program.name}"
        principal = Principal("function", program.name, user_id, role)
        variables = {
            **world.principals.credentials(principal).environment(),
            "AWS_REGION": world.settings.region,
            "AWS_DEFAULT_REGION": world.settings.region,
            "AWS_ENDPOINT_URL": world.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": program.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{program.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"lab/{uuid.uuid4().hex}",
        }
        python: Path = world.settings.runtime / "bin" / "python"
        return Environment(program, python, variables, world.lambda_log.append)


def invoke(world: World, request: Request) -> tuple[int, dict[str, str], bytes]:
    """Lambda's Invoke: RequestResponse, Event, or DryRun."""
    function = world.functions.find(str(request.parameters.get("FunctionName", "")))
    body = request.response.raw_body or b"{}"
    if isinstance(body, str):
        body = body.encode()
    kind = request.response.headers.get("X-Amz-Invocation-Type", "RequestResponse")
    if function is None:
        return _refused(404, "ResourceNotFoundException", "Function not found")
    if kind == "DryRun":
        return 204, {}, b""
    if kind == "Event":
        world.functions.accept(function.function_arn, body)
        return 202, {}, b""
    invocation = world.functions.run(function, body)
    if invocation is None:
        return _refused(429, "TooManyRequestsException", "Rate Exceeded.")
    headers = {"content-type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
    tail = "\n".join(invocation.log)[-4096:]
    headers["X-Amz-Log-Result"] = base64.b64encode(tail.encode()).decode()
    if invocation.failed:
        headers["X-Amz-Function-Error"] = "Unhandled"
    return 200, headers, invocation.body


def _refused(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"content-type": "application/json", "X-Amzn-Errortype": code}
    return status, headers, json.dumps({"Type": "User", "message": message}).encode()


def _program(function: LambdaFunction) -> Program:
    variables = function.environment_vars or {}
    return Program(
        name=function.function_name,
        arn=function.function_arn,
        handler=str(function.handler),
        code=function.code_bytes,
        timeout=float(function.timeout),
        variables=tuple(sorted((str(k), str(v)) for k, v in variables.items())),
    )


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


def _role_id(world: World, role: str) -> str:
    with world.lock:
        roles = iam_backends[world.settings.account]["aws"].roles
        return next((str(r.id) for r in roles.values() if r.name == role), "AROALAB" + role.upper())


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
        "requestPayload": json.loads(payload),
    }
    if invocation is not None:
        record["responseContext"] = {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        }
        record["responsePayload"] = json.loads(invocation.body)
    return record
