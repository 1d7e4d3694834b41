"""AWS's answers as outcomes: the table that everything else relies on."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from chalicelib.aws_errors import DEVICE_TAKEN, THROTTLED, classify, lost_conditions
from chalicelib.model import Outcome

DONE, NOT_YET, REFUSED, UNKNOWN = Outcome.DONE, Outcome.NOT_YET, Outcome.REFUSED, Outcome.UNKNOWN


def answer(operation: str, code: str, status: int = 400, text: str = "") -> ClientError:
    """An error as botocore raises it."""
    response: Any = {
        "Error": {"Code": code, "Message": text},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("operation", "code", "status", "outcome"),
    [
        ("DetachVolume", "IncorrectState", 400, DONE),
        ("DetachVolume", "InvalidAttachment.NotFound", 400, DONE),
        ("AttachVolume", "InvalidAttachment.NotFound", 400, REFUSED),
        ("AttachVolume", "IncorrectState", 400, NOT_YET),
        ("AttachVolume", "VolumeInUse", 400, NOT_YET),
        ("AttachVolume", "InvalidVolume.ZoneMismatch", 400, REFUSED),
        ("AttachVolume", "AttachmentLimitExceeded", 400, REFUSED),
        ("AttachVolume", "Unavailable", 503, UNKNOWN),
        ("StartInstances", "InsufficientInstanceCapacity", 500, NOT_YET),
        ("StartInstances", "IncorrectInstanceState", 400, NOT_YET),
        ("StopInstances", "InvalidInstanceID.NotFound", 400, REFUSED),
        ("StopInstances", "UnauthorizedOperation", 403, REFUSED),
        ("AssignPrivateIpAddresses", "InvalidParameterValue", 400, REFUSED),
        ("AssignPrivateIpAddresses", "InternalError", 500, UNKNOWN),
        ("SendCommand", "InvalidInstanceId", 400, REFUSED),
        ("SendCommand", "RequestTimeoutException", 400, UNKNOWN),
        ("SendCommand", "SomethingNew", 418, REFUSED),
        ("SendCommand", "SomethingNew", 599, UNKNOWN),
        ("SendCommand", "", 0, UNKNOWN),
    ],
)
def test_an_answer_means(operation: str, code: str, status: int, outcome: Outcome) -> None:
    """Each line of the table."""
    verdict = classify(operation, answer(operation, code, status))
    assert (verdict.outcome, verdict.code) == (outcome, code)


@pytest.mark.parametrize("code", sorted(THROTTLED))
@pytest.mark.parametrize("status", [400, 429, 503])
def test_throttled_never_happened_and_is_never_done(code: str, status: int) -> None:
    """Whatever the HTTP status and the operation, an allowance that ran out is "not yet"."""
    for operation in ("DetachVolume", "StopInstances", "SendCommand"):
        assert classify(operation, answer(operation, code, status)).outcome is NOT_YET


def test_a_taken_device_name_condemns_the_name_only() -> None:
    """EC2 has one code for all bad parameters; this one has a code of ours."""
    text = "Invalid value '/dev/sdf' for unixDevice. Attachment point /dev/sdf is already in use"
    verdict = classify("AttachVolume", answer("AttachVolume", "InvalidParameterValue", 400, text))
    assert (verdict.outcome, verdict.code) == (REFUSED, DEVICE_TAKEN)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ReadTimeoutError(endpoint_url="x"), UNKNOWN),
        (ConnectTimeoutError(endpoint_url="x"), UNKNOWN),
        (EndpointConnectionError(endpoint_url="x"), UNKNOWN),
        (NoCredentialsError(), REFUSED),
        (ParamValidationError(report="x"), REFUSED),
    ],
)
def test_no_answer_is_unknown_unless_nothing_was_sent(error: Exception, outcome: Outcome) -> None:
    """A lost connection says nothing about the call; a call that was never made did not happen."""
    assert classify("DetachVolume", error).outcome is outcome


def test_what_is_not_aws_s_is_raised_again() -> None:
    """A mistake of our own is not an outcome."""
    with pytest.raises(ZeroDivisionError):
        classify("DetachVolume", ZeroDivisionError())


def test_conditions_that_failed_are_told_from_other_refusals() -> None:
    """A transaction that met another one, or was throttled, is not a lost lease."""
    lost = answer("UpdateItem", "ConditionalCheckFailedException")
    assert lost_conditions(lost) == (True,)
    assert lost_conditions(answer("UpdateItem", "TransactionConflictException")) == (False,)
    cancelled = answer("TransactWriteItems", "TransactionCanceledException")
    response: Any = cancelled.response
    response["CancellationReasons"] = [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}]
    assert lost_conditions(cancelled) == (False, True)
    response["CancellationReasons"] = [{"Code": "ThrottlingError"}, {"Code": "None"}]
    with pytest.raises(ClientError):
        lost_conditions(cancelled)
    with pytest.raises(ClientError):
        lost_conditions(answer("UpdateItem", "ResourceNotFoundException"))
