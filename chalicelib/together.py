"""Independent calls at the same time, and none of them outlives the one who asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, TypeVar

T = TypeVar("T")

WIDTH: Final = 12
"""Calls under way at once. EC2 gives 5 mutations and 20 Describes a second, each of which takes
some tenths of a second: more would only wait for the quota."""


class Together:
    """Runs calls side by side; a context, because no thread may outlive a Lambda's handler:
    Lambda freezes what is left over and thaws it into a later invocation."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Together:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def run(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """The results in order. What a call raises is raised here, after all have ended."""
        if len(calls) == 1:
            return [calls[0]()]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WIDTH, thread_name_prefix="together")
        futures = [self._pool.submit(call) for call in calls]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]
