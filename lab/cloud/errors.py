"""The error that an operation of the lab refuses a call with."""

from __future__ import annotations

from moto.core.exceptions import ServiceException


class Refused(ServiceException):  # type: ignore[misc]
    """An AWS error: its code and message.

    moto looks an exception's error shape up by the module it is defined in; one of ours is
    looked up in the service that was called, which is right.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
