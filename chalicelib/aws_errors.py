"""AWS error codes: the only place that reads them. Everybody else sees an `Outcome`.

    DONE      what was asked for is so already
    NOT_YET   it certainly did not happen, and the same call may succeed later
    REFUSED   it certainly did not happen, and the same call will fail again
    UNKNOWN   it may or may not have happened, now or within `CALL_TTL_SECONDS`

"Throttled" or "denied" is never read as "gone": resource agents that did so left two holders.
What is not listed is decided by who is at fault: a 4xx is a refusal, everything else, time-outs
and broken connections among it, is unknown. A code is looked up before the HTTP status, since EC2
answers throttling and missing capacity with 5xx although nothing happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from chalicelib.model import Outcome

THROTTLED: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

ALREADY: Final = frozenset(
    {
        # The volume is `available`, or attached to somebody else than the node that was named.
        ("DetachVolume", "IncorrectState"),
        ("DetachVolume", "InvalidAttachment.NotFound"),
    }
)

LATER: Final = frozenset(
    {
        # The volume is still detaching elsewhere, or an earlier attach that answered
        # `Unavailable` succeeded after all: the next observation tells which.
        ("AttachVolume", "VolumeInUse"),
        ("AttachVolume", "IncorrectState"),
        ("AttachVolume", "IncorrectInstanceState"),
        ("DetachVolume", "IncorrectInstanceState"),
        ("StartInstances", "IncorrectInstanceState"),
        ("StartInstances", "InsufficientInstanceCapacity"),
        ("StopInstances", "IncorrectInstanceState"),
    }
)

NEVER_CERTAIN: Final = frozenset({"RequestTimeout", "RequestTimeoutException"})
"""4xx by number, but what they say is that AWS lost sight of the call."""

MISSING: Final = frozenset({"InvalidInstanceID.NotFound", "InvalidVolume.NotFound", "InvalidAMIID.NotFound"})

DEVICE_TAKEN: Final = "device-taken"
"""Our code for EC2's InvalidParameterValue "already in use": it condemns the device name only."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a call that raised, with AWS's code (or ours) and AWS's words for people."""

    outcome: Outcome
    code: str
    text: str


def classify(operation: str, error: Exception) -> Verdict:
    """What an error of this operation means. Raises the error again if it is not AWS's."""
    if isinstance(error, ClientError):
        return _classify_answer(operation, error)
    if isinstance(error, (ParamValidationError, NoCredentialsError, PartialCredentialsError)):
        return Verdict(Outcome.REFUSED, type(error).__name__, str(error))
    if isinstance(error, BotoCoreError):
        return Verdict(Outcome.UNKNOWN, type(error).__name__, str(error))
    raise error


def _classify_answer(operation: str, error: ClientError) -> Verdict:
    code, text, status = _parts(error)
    if operation == "AttachVolume" and _is_device_taken(code, text):
        return Verdict(Outcome.REFUSED, DEVICE_TAKEN, text)
    if (operation, code) in ALREADY:
        return Verdict(Outcome.DONE, code, text)
    if code in THROTTLED or (operation, code) in LATER:
        return Verdict(Outcome.NOT_YET, code, text)
    if code not in NEVER_CERTAIN and 400 <= status < 500:
        return Verdict(Outcome.REFUSED, code, text)
    return Verdict(Outcome.UNKNOWN, code, text)


def _parts(error: ClientError) -> tuple[str, str, int]:
    answer: Any = error.response
    told = answer.get("Error", {})
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(told.get("Code", "")), str(told.get("Message", "")), int(status)


def _is_device_taken(code: str, text: str) -> bool:
    return code == "InvalidParameterValue" and "already in use" in text


def says_missing(error: ClientError) -> bool:
    """Whether EC2 says that something named in a Describe does not exist."""
    return _parts(error)[0] in MISSING


def says_no_invocation(error: ClientError) -> bool:
    """Whether SSM does not know the command on that node yet: normal right after SendCommand."""
    return _parts(error)[0] == "InvocationDoesNotExist"


def says_no_parameter(error: BaseException | None) -> bool:
    """Whether Parameter Store says that there is no such parameter."""
    return isinstance(error, ClientError) and _parts(error)[0] == "ParameterNotFound"


def is_unsupported(error: ClientError) -> bool:
    """Whether EC2 does not know, or not for this instance, a way of stopping that it was asked."""
    code, text, _ = _parts(error)
    if code == "InvalidParameterValue":
        return "SkipOsShutdown" in text
    return code in {"UnsupportedOperation", "UnknownParameter", "InvalidParameterCombination"}


def lost_conditions(error: ClientError) -> tuple[bool, ...]:
    """For each item of a refused conditional write or transaction: whether its condition failed.

    Nothing failed if the transaction merely met another one. Raises the error again if it is
    about anything but conditions.
    """
    code = _parts(error)[0]
    if code == "ConditionalCheckFailedException":
        return (True,)
    if code == "TransactionConflictException":
        return (False,)
    if code != "TransactionCanceledException":
        raise error
    answer: Any = error.response
    codes = [reason.get("Code") for reason in answer.get("CancellationReasons", ())]
    if not set(codes) <= {"None", None, "ConditionalCheckFailed", "TransactionConflict"}:
        raise error
    return tuple(code == "ConditionalCheckFailed" for code in codes)


def stored_item(error: ClientError, index: int = 0) -> dict[str, Any]:
    """The item as it was when its condition failed, empty if DynamoDB did not show it."""
    answer: Any = error.response
    reasons = answer.get("CancellationReasons")
    item = reasons[index].get("Item") if reasons else answer.get("Item")
    return dict(item or {})
