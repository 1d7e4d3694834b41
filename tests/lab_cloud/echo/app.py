"""A tiny Chalice application that does what an event's detail asks for, good or bad."""

import itertools
import os
import threading
import time
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from chalice import Chalice, Rate

app = Chalice(app_name="echo")
logger = Logger(service="echo")
ticks: list[float] = []


def _tick() -> None:
    while True:
        time.sleep(0.02)
        ticks.append(time.time())


@app.on_cw_event({"source": [{"prefix": "baton."}]})  # type: ignore[untyped-decorator]
def on_word(event: Any) -> dict[str, Any]:
    detail = event.detail
    logger.info("word", extra={"number": detail.get("number")})
    match detail.get("do"):
        case "raise":
            raise RuntimeError("it was asked to")
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(60)
        case "thread":
            threading.Thread(target=_tick, daemon=True).start()
        case "table":
            boto3.client("dynamodb").put_item(TableName="echo", Item={"id": {"S": "x"}})
        case "ec2":
            boto3.client("ec2").describe_volumes()
    return {
        "number": detail.get("number"),
        "time": event.time,
        "boto3": boto3.__file__,
        "user": boto3.client("sts").get_caller_identity()["Arn"],
        "gap": max((b - a for a, b in itertools.pairwise([*ticks, time.time()])), default=0.0),
    }


@app.schedule(Rate(1, unit=Rate.MINUTES))  # type: ignore[untyped-decorator]
def sweep(event: Any) -> None:
    logger.info("sweep")
