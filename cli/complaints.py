"""What AWS did not answer while the orchestrator's own code looked: for a person, not for a log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Collector(logging.Handler):
    """Keeps the warnings of a look at AWS as sentences, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note what was not answered, and what AWS said."""
        operation, said = getattr(record, "operation", ""), getattr(record, "text", "")
        sentence = record.getMessage()
        if operation:
            why = f"{getattr(record, 'code', '')}: {said}"
            sentence = f"AWS did not answer {operation}, so what it would show is not known ({why})"
        if sentence not in self.sentences:
            self.sentences.append(sentence)


@contextmanager
def collected() -> Iterator[list[str]]:
    """What went wrong inside, as sentences."""
    collector, root = _Collector(), logging.getLogger()
    root.addHandler(collector)
    try:
        yield collector.sentences
    finally:
        root.removeHandler(collector)
