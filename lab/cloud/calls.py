"""Who calls, and the record of every call."""

from __future__ import annotations

import secrets
import string
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

_ALPHABET = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed a call. `user_id` is IAM's aws:userid, `<role id>:<session name>`."""

    kind: Literal["operator", "node", "function"]
    name: str
    """Instance id, function name, or "operator"."""
    user_id: str = ""
    role: str = ""


OPERATOR = Principal("operator", "operator")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of one principal; as environment variables by `environment()`."""

    access_key: str
    secret_key: str
    token: str

    def environment(self) -> dict[str, str]:
        """What the AWS SDKs read."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.token,
        }


class Principals:
    """Access keys and whose they are. A key nobody issued is the operator's."""

    def __init__(self) -> None:
        self._by_key: dict[str, Principal] = {}
        self._issued: dict[Principal, Credentials] = {}
        self._lock = threading.Lock()

    def credentials(self, principal: Principal) -> Credentials:
        """The principal's keys, the same ones each time."""
        with self._lock:
            if principal not in self._issued:
                key = "ASIA" + "".join(secrets.choice(_ALPHABET) for _ in range(16))
                self._by_key[key] = principal
                self._issued[principal] = Credentials(key, secrets.token_hex(20), "lab")
            return self._issued[principal]

    def of(self, access_key: str) -> Principal:
        """Whose key this is."""
        return self._by_key.get(access_key, OPERATOR)


@dataclass(slots=True)
class Call:
    """One API call. `error` is the code it was answered with, "" for success, and
    `answered` stays None while it is under way or hangs."""

    at: float
    principal: Principal
    service: str
    operation: str
    parameters: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    answered: float | None = None


class Calls:
    """The latest calls, oldest first."""

    def __init__(self, most: int = 20_000) -> None:
        self._calls: deque[Call] = deque(maxlen=most)

    def add(self, call: Call) -> None:
        """Note a call as it begins."""
        self._calls.append(call)

    def clear(self) -> None:
        """Forget them."""
        self._calls.clear()

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls))

    def __len__(self) -> int:
        return len(self._calls)

    def of(
        self,
        operation: str = "",
        *,
        service: str = "",
        kind: str = "",
        where: Callable[[Call], bool] = lambda call: True,
    ) -> list[Call]:
        """The calls of an operation, service, and kind of principal; all that are given count."""
        return [
            call
            for call in self
            if operation in ("", call.operation)
            and service in ("", call.service)
            and kind in ("", call.principal.kind)
            and where(call)
        ]


class Answers:
    """Recent answers to Describes, for the fault that gives an old one once more."""

    _QUESTIONS_MOST = 200
    _EACH_MOST = 30

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, deque[tuple[float, Any]]] = OrderedDict()

    def add(self, call: Call, answer: Any) -> None:
        """Keep the answer to this question."""
        with self._lock:
            kept = self._answers.setdefault(_question(call), deque(maxlen=self._EACH_MOST))
            kept.append((time.time(), answer))
            self._answers.move_to_end(_question(call))
            if len(self._answers) > self._QUESTIONS_MOST:
                self._answers.popitem(last=False)

    def before(self, call: Call, seconds: float) -> Any:
        """The newest answer that is so old, None if there is none."""
        with self._lock:
            kept = list(self._answers.get(_question(call), ()))
        old = [answer for at, answer in kept if at <= time.time() - seconds]
        return old[-1] if old else None


def _question(call: Call) -> str:
    return f"{call.service} {call.operation} {call.parameters!r}"
