"""Clients that check each request and each field read of each answer against botocore's models.

An emulator answers whatever it was taught, and takes parameters that AWS never heard of. The
service models are AWS's own description of both sides: a request that they do not allow, or a
field that no answer can have, is Baton's mistake, whatever the emulator says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

ALWAYS = frozenset({"ResponseMetadata", "Error"})
"""Keys that botocore itself adds."""


class Tape:
    """What was asked and read, and each thing that AWS's models do not know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.operations: set[str] = set()
        self.read: set[str] = set()
        self.wrong: list[str] = []

    def asked(self, operation: str, problem: str) -> None:
        """A request was made; `problem` is what the model has against it."""
        with self._lock:
            self.operations.add(operation)
            self.wrong += [f"{operation}: {problem}"] if problem else []

    def looked(self, where: str, is_known: bool) -> None:
        """A field was read."""
        with self._lock:
            self.read.add(where)
            self.wrong += [] if is_known else [f"{where}: no answer has this field"]


class Reading(dict[str, Any]):
    """A structure of an answer that tells the tape which of its fields are read."""

    def __init__(
        self,
        plain: dict[str, Any],
        shape: StructureShape,
        where: str,
        tape: Tape,
        also: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(
            (name, wrapped(value, shape.members.get(name), f"{where}.{name}", tape))
            for name, value in plain.items()
        )
        self._where, self._tape = where, tape
        self._known = also | set(shape.members)

    def _look(self, name: str) -> None:
        if name not in ALWAYS:
            self._tape.looked(f"{self._where}.{name}", name in self._known)

    def __getitem__(self, name: str) -> Any:
        self._look(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._look(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._look(name)
        return super().get(name, default)


def wrapped(value: Any, shape: Shape | None, where: str, tape: Tape) -> Any:
    """The value, with every structure in it replaced by one that tells what is read."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return Reading(value, shape, where, tape)
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [wrapped(item, shape.member, where, tape) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {name: wrapped(item, shape.value, where, tape) for name, item in value.items()}
    return value


def watched(client: Any, tape: Tape) -> Any:
    """The client, telling the tape about each request and each field that is read."""
    send, models = client._make_api_call, client.meta.service_model
    validator = ParamValidator()

    def make(operation: str, parameters: dict[str, Any]) -> Any:
        model = models.operation_model(operation)
        report = validator.validate(parameters, model.input_shape)
        tape.asked(operation, report.generate_report() if report.has_errors() else "")
        try:
            answer = send(operation, parameters)
        except ClientError as error:
            error.response = _watched_error(error.response, models, operation, tape)
            raise
        return wrapped(answer, model.output_shape, operation, tape)

    client._make_api_call = make
    return client


def _watched_error(answer: Any, models: ServiceModel, operation: str, tape: Tape) -> Any:
    """An error's answer. Which error it is may be told by a field of another error that it lacks."""
    shape = models.shape_for_error_code(answer.get("Error", {}).get("Code", ""))
    if not isinstance(shape, StructureShape):
        return answer  # EC2's errors are not modelled: they are a code and a message
    errors = [error for error in models.error_shapes if isinstance(error, StructureShape)]
    fields = frozenset(name for error in errors for name in error.members)
    return Reading(answer, shape, f"{operation}!{shape.name}", tape, fields)


def missing(operations: Iterable[str], tape: Tape) -> set[str]:
    """Operations that were expected and never asked for."""
    return set(operations) - tape.operations
