"""Where events and failed invocations go: Lambda functions, queues, topics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moto.core.exceptions import ServiceException
from moto.events.models import EventTemplateParser, Rule
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from werkzeug.exceptions import HTTPException

if TYPE_CHECKING:
    from lab.cloud.world import World


class Undeliverable(Exception):
    """The target does not take the event, with EventBridge's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def deliver(world: World, rule: Rule, target: dict[str, Any], event: dict[str, Any]) -> None:
    """Give an event to a rule's target, else to the target's dead letters."""
    body = _input(target, event)
    try:
        _send(world, target["Arn"], body, rule.arn)
    except Undeliverable as refused:
        world.bus.undeliverable.append((event, target["Arn"], refused.code))
        dead = (target.get("DeadLetterConfig") or {}).get("Arn")
        if dead:
            attributes = {
                "RULE_ARN": rule.arn,
                "TARGET_ARN": target["Arn"],
                "ERROR_CODE": refused.code,
                "ERROR_MESSAGE": str(refused),
            }
            queue(world, dead, body, attributes)


def queue(world: World, arn: str, body: str, attributes: dict[str, str] | None = None) -> None:
    """Put a message into an SQS queue; a missing one is an `Undeliverable`."""
    typed = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
    backend = sqs_backends[world.settings.account][world.settings.region]
    try:
        with world.lock:
            backend.send_message(arn.split(":")[-1], body, message_attributes=typed)
    except (ServiceException, HTTPException) as missing:
        raise Undeliverable("SDK_CLIENT_ERROR", f"{arn}: {missing}") from missing


def publish(world: World, arn: str, body: str) -> None:
    """Publish a message to an SNS topic."""
    backend = sns_backends[world.settings.account][world.settings.region]
    try:
        with world.lock:
            backend.publish(body, arn=arn)
    except (ServiceException, HTTPException) as missing:
        raise Undeliverable("SDK_CLIENT_ERROR", f"{arn}: {missing}") from missing


def _send(world: World, arn: str, body: str, rule_arn: str) -> None:
    service = arn.split(":")[2]
    if service == "lambda":
        world.functions.later.accept(arn, body.encode(), rule_arn)
    elif service == "sqs":
        queue(world, arn, body)
    elif service == "sns":
        publish(world, arn, body)
    elif service == "events":
        world.bus.publish(json.loads(body), arn.split("/")[-1])
    else:
        raise Undeliverable("UNSUPPORTED", f"The lab delivers no events to {service}.")


def _input(target: dict[str, Any], event: dict[str, Any]) -> str:
    """What the target gets: its constant Input, the transformed event, or the event."""
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath") is not None:
        found: Any = event
        for name in [n for n in str(target["InputPath"]).lstrip("$").split(".") if n]:
            found = found[name]
        return json.dumps(found)
    transformer = target.get("InputTransformer") or {}
    if transformer:
        event = EventTemplateParser.parse(
            input_template=transformer.get("InputTemplate"),
            input_paths_map=transformer.get("InputPathsMap", {}),
            event=event,
        )
    return json.dumps(event)
