"""The AWS account and region that a command works in, and its errors as sentences for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from infra.names import Names
from infra.policies import Place

_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 4},
)
"""Nobody waits for a hung endpoint for longer than half a minute, four times."""

_SIGN_IN: Final = "Sign in again (aws sso login) and repeat."
_EXPIRED: Final = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN: Final = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "SignatureDoesNotMatch",
}
DENIED: Final = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
}
"""What AWS says if a call is not allowed; each service has its own word."""


class Trouble(Exception):
    """Something a person has to know: one sentence or two, with what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account and region, and clients for them."""

    session: boto3.Session
    id: str
    region: str
    partition: str = "aws"

    def client(self, service: str) -> Any:
        """A client that waits for nothing without a bound."""
        return self.session.client(service, config=_CONFIG)  # type: ignore[call-overload]

    def place(self, names: Names) -> Place:
        """Where a stage lives, or would live."""
        return Place(names, self.id, self.region, self.partition)


def connect(region: str | None = None, expected: str | None = None) -> Account:
    """The account that the environment's credentials are for; `expected` refuses any other."""
    with explained():
        session = boto3.Session(region_name=region)
        if not session.region_name:
            raise NoRegionError
        identity = session.client("sts", config=_CONFIG).get_caller_identity()
    if expected and identity["Account"] != expected:
        raise Trouble(
            f"These credentials are for account {identity['Account']}, not {expected}."
            " Nothing was changed. Choose other credentials (AWS_PROFILE)."
        )
    partition = str(identity["Arn"]).split(":")[1]
    return Account(session, str(identity["Account"]), session.region_name, partition)


@contextmanager
def explained() -> Iterator[None]:
    """Turns the errors of AWS's SDK into Trouble."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise Trouble(sentence(error)) from error


def code(error: ClientError) -> str:
    """The code that AWS refused a call with."""
    return str(error.response.get("Error", {}).get("Code", ""))


def sentence(error: ClientError | BotoCoreError) -> str:
    """What an error means, and what to do."""
    match error:
        case NoRegionError():
            return "No AWS region is set. Set AWS_REGION, for example to eu-central-1."
        case NoCredentialsError() | PartialCredentialsError():
            return "No AWS credentials were found. Set AWS_PROFILE, or sign in (aws sso login)."
        case ProfileNotFound():
            return f"{error}. Set AWS_PROFILE to one of `aws configure list-profiles`."
        case InvalidRegionError():
            return "That is no name of an AWS region. Set AWS_REGION, for example to eu-central-1."
        case SSOError() | TokenRetrievalError() | CredentialRetrievalError():
            return f"The AWS credentials have expired, or cannot be had. {_SIGN_IN} ({error})"
        case EndpointConnectionError():
            return f"AWS does not answer ({error}). Check the network and the region's name."
        case ClientError():
            return _refusal(error)
    return f"The call to AWS failed: {str(error).rstrip('.')}. Repeat the command."


def _refusal(error: ClientError) -> str:
    call, why = error.operation_name, code(error)
    if why in _EXPIRED:
        return f"The AWS credentials have expired. {_SIGN_IN}"
    if why in _UNKNOWN:
        return f"AWS does not know these credentials ({why}). Check AWS_PROFILE and the region."
    if why in DENIED:
        return f"These credentials may not do {call}. Ask for the right, or choose other ones."
    return f"AWS refused {call}: {why}: {error.response.get('Error', {}).get('Message', '')}"
