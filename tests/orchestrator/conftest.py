"""An AWS of moto's in this process, with DynamoDB made atomic, and a table for the records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

from chalicelib.store import Store

REGION = "eu-west-1"
TABLE = "baton-unit"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A maker of clients against an empty account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "unit")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    _serialise(monkeypatch)
    with mock_aws():
        made: dict[str, Any] = {}

        def client(service: str) -> Any:
            if service not in made:
                made[service] = boto3.client(service, region_name=REGION)  # type: ignore[call-overload]
            return made[service]

        yield client


def _serialise(monkeypatch: pytest.MonkeyPatch) -> None:
    # moto loses conditional writes under threads; DynamoDB does not.
    lock = threading.RLock()
    for name in ("put_item", "update_item", "get_item", "query", "transact_write_items"):
        original = getattr(DynamoDBBackend, name)

        def locked(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
            with lock:
                return _original(*args, **kwargs)

        monkeypatch.setattr(DynamoDBBackend, name, locked)


@pytest.fixture
def store(aws: Callable[[str], Any]) -> Store:
    """A store on an empty table."""
    dynamodb = aws("dynamodb")
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return Store(dynamodb, TABLE)
