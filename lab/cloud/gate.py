"""The gate: every API call passes here, whatever the service.

It is the only patch of moto's request handling. It notes the call and who signed it, lets it
take its time, refuses what IAM would refuse, brings about the faults that were asked for, and
hands the call to our own operation if there is one, else to moto, under one lock.

moto answers requests in as many threads as there are callers, and its backends are plain
dictionaries: in DynamoDB half of all conditional updates were lost in a test with two threads
(661 of 1,323). Hence the lock, around everything but calls that wait for others.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from werkzeug.exceptions import HTTPException

from lab.cloud.access import refusal
from lab.cloud.calls import Call
from lab.cloud.errors import Refused
from lab.cloud.faults import Ruling
from lab.cloud.operations import OPERATIONS
from lab.cloud.world import Request, World, current

_KEY = re.compile(r"Credential=([^/,\s]+)/")
_WAITING = {("lambda", "Invoke"), ("sqs", "ReceiveMessage")}
"""Operations that wait for something that itself calls the cloud: never under the lock."""

_UNRECORDED = {"ZipFile", "Code"}
"""Parameters too big to keep."""

_original = BaseResponse.call_action


def install() -> None:
    """Put the gate in place, once per process. Without a cloud, moto behaves as always."""
    if BaseResponse.call_action is _original:
        BaseResponse.call_action = _call_action


def _call_action(response: BaseResponse) -> Any:
    world = current()
    if world is None:
        return _original(response)
    call = _call(world, response)
    world.calls.add(call)
    try:
        status, headers, body = _answer(world, Request(call, response))
    finally:
        call.answered = time.time()
    if int(status) >= 400 and not call.error:
        call.error = _code(headers, body)
    return status, headers, body


def _call(world: World, response: BaseResponse) -> Call:
    key = _KEY.search(response.headers.get("Authorization", ""))
    principal = world.principals.of(key.group(1) if key else "")
    operation = response._get_action() or ""
    service = response.boto3_service_name or str(response.service_name)
    return Call(time.time(), principal, service, operation, _parameters(response, operation))


def _parameters(response: BaseResponse, operation: str) -> dict[str, Any]:
    if not response.automated_parameter_parsing and operation:
        try:
            response.parse_parameters(response.normalized_request)
        except Exception:  # noqa: BLE001 - moto's parser does not know every protocol: no parameters then
            return {}
    parsed = getattr(response, "params", None) or {}
    if hasattr(parsed, "original_dict"):
        parsed = parsed.original_dict()
    if not isinstance(parsed, Mapping):
        return {}
    return {str(name): value for name, value in parsed.items() if name not in _UNRECORDED}


def _answer(world: World, request: Request) -> tuple[Any, Any, Any]:
    ruling = world.faults.ruling(request.call) or Ruling()
    seconds = world.latencies.api + (0.0 if ruling.after else ruling.seconds)
    if seconds:
        world.stopped.wait(seconds)
    denied = refusal(world, request.call)
    if denied:
        return _error(request, *denied)
    if ruling.act is not None and not ruling.after:
        ruling.act(request.call)
    answer = _ruled(world, request, ruling)
    if ruling.act is not None and ruling.after:
        ruling.act(request.call)
    return answer


def _ruled(world: World, request: Request, ruling: Ruling) -> tuple[Any, Any, Any]:
    if ruling.stale:
        return world.answers.before(request.call, ruling.stale) or _perform(world, request)
    if not ruling.code:
        return _perform(world, request)
    if ruling.applied:
        _perform(world, request)
    if ruling.after:
        world.stopped.wait(ruling.seconds)
    return _error(request, _spelled(ruling, request.call.service), ruling.message)


def _perform(world: World, request: Request) -> tuple[Any, Any, Any]:
    name = (request.call.service, request.call.operation)
    if name in _WAITING:
        return _run(world, request)
    with world.lock:
        answer = _run(world, request)
    if name[1].startswith("Describe") and not request.call.error:
        world.answers.add(request.call, answer)
    return answer


def _run(world: World, request: Request) -> tuple[Any, Any, Any]:
    operation = OPERATIONS.get((request.call.service, request.call.operation))
    if operation is None:
        status, headers, body = _original(request.response)
        return status, headers, body
    try:
        result = operation(world, request)
    except ServiceException as refused:
        return _error(request, refused.code, refused.message)
    except HTTPException as refused:  # what is left of moto's older error classes
        headers = {k: str(v) for k, v in refused.get_headers() or []}
        return refused.code, headers, refused.description
    if isinstance(result, tuple):
        return result
    if not isinstance(result, ActionResult):
        result = ActionResult(result)
    return _serialize(request, result)


def _error(request: Request, code: str, message: str) -> tuple[Any, Any, Any]:
    request.call.error = code
    status, headers, body = _serialize(request, ActionResult(Refused(code, message)))
    if code in ("RequestLimitExceeded", "Unavailable", "ServiceUnavailable"):
        status = 503
    elif code in ("InternalError", "InternalServerError", "InternalException"):
        status = 500
    return status, headers, body


def _serialize(request: Request, result: ActionResult) -> tuple[Any, Any, Any]:
    response = request.response
    status, headers, body = response.serialized(result)
    headers, body = response._enrich_response(headers, body)
    return status, headers, body


def _spelled(ruling: Ruling, service: str) -> str:
    """The service's own word for a kind of refusal."""
    words = {
        "throttle": {"ec2": "RequestLimitExceeded", "*": "ThrottlingException"},
        "unavailable": {
            "ec2": "Unavailable",
            "dynamodb": "InternalServerError",
            "ssm": "InternalServerError",
            "events": "InternalException",
            "*": "ServiceUnavailable",
        },
        "deny": {"ec2": "UnauthorizedOperation", "*": "AccessDeniedException"},
    }
    spelled = words.get(ruling.code)
    return spelled.get(service, spelled["*"]) if spelled else ruling.code


def _code(headers: Any, body: Any) -> str:
    """The error code in moto's own answer, for the record."""
    named = dict(headers).get("X-Amzn-Errortype") or dict(headers).get("x-amzn-errortype")
    if named:
        return str(named).split("#")[-1].split(":")[0]
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    found = re.search(r'<Code>([^<]+)</Code>|"__type"\s*:\s*"(?:[^"#]*#)?([^"]+)"', text)
    return (found.group(1) or found.group(2)) if found else "Unknown"
