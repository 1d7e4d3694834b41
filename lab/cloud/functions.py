"""Lambda: the functions and the environments they run in.

moto runs Lambda functions in Docker only. Here the deployed zip is run by `environment.py`.
Asynchronous invocations, with their retries, are in `asynchronous.py`.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections import Counter, deque
from pathlib import Path

from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.iam.models import iam_backends

from lab.cloud.asynchronous import Asynchronous
from lab.cloud.calls import Principal
from lab.cloud.environment import Environment, Invocation
from lab.cloud.runtime_api import Program
from lab.cloud.world import Request, World


class Functions:
    """The functions of the cloud. `invocations` holds (function, invocation) of the latest."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._idle: dict[Program, list[Environment]] = {}
        self._busy: dict[str, set[Environment]] = {}
        self._closed = False
        self.invocations: deque[tuple[str, Invocation]] = deque(maxlen=2_000)
        self.throttled: Counter[str] = Counter()
        """How often a function was not run for want of an environment."""
        self.later = Asynchronous(world, self)

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

    def close(self) -> None:
        """Kill every environment."""
        with self._lock:
            self._closed = True
            every = [e for pool in self._idle.values() for e in pool]
            every += [e for busy in self._busy.values() for e in busy]
            self._idle.clear()
        for environment in every:
            environment.close()

    @property
    def failed(self) -> deque[tuple[str, bytes, str]]:
        """(function, event, condition) of asynchronous invocations that failed for good."""
        return self.later.failed

    def kill(self, name: str = "") -> int:
        """Crash what a function is in the middle of ("": every function); how many there were."""
        busy = self._running(name)
        for environment in busy:
            environment.kill()
        return len(busy)

    def pause(self, seconds: float, name: str = "") -> int:
        """Let what is under way stand still for so long; how many there were. Lambda does not
        promise that time goes on evenly, and its own clock goes on."""
        busy = self._running(name)
        for environment in busy:
            environment.pause()
            self._world.timeline.after(seconds, environment.resume)
        return len(busy)

    def _running(self, name: str) -> list[Environment]:
        with self._lock:
            return [e for busy in self._busy.values() for e in busy if name in ("", e.program.name)]

    def recycle(self) -> None:
        """Lambda throws idle environments away: the next invocations start cold."""
        with self._lock:
            idle = [e for pool in self._idle.values() for e in pool]
            self._idle.clear()
        for environment in idle:
            environment.close()

    def _take(self, function: LambdaFunction) -> Environment | None:
        program = _program(function)
        stale: list[Environment] = []
        try:
            with self._lock:
                if self._closed:
                    return None
                stale = self._outdated(program)
                if len(self._busy.get(program.name, ())) >= self._limit(function):
                    self.throttled[program.name] += 1
                    return None
                idle = self._idle.setdefault(program, [])
                while idle:
                    environment = idle.pop()
                    if environment.alive:
                        return self._mark(environment)
                    stale.append(environment)
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
        if not python.exists():
            raise FileNotFoundError(
                f"There is no Lambda runtime at {python}: make a virtual environment there with "
                "what requirements-lambda.txt names, as ./baton does."
            )
        return Environment(program, python, variables, world.lambda_log.append, world.keeper)


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
        world.functions.later.accept(function.function_arn, body)
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


def _role_id(world: World, role: str) -> str:
    with world.lock:
        roles = iam_backends[world.settings.account]["aws"].roles
        return next((str(r.id) for r in roles.values() if r.name == role), "AROALAB" + role.upper())
