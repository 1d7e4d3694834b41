"""Things that happen later: a heap of due jobs, each run in a daemon thread of its own."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Job: TypeAlias = Callable[[], None]


class Timeline:
    """Runs jobs at their time. After `stop` nothing starts any more.

    Jobs have threads of their own because they may wait for a host; the threads are daemons
    because a host can be stuck in the kernel, and a test run must still end.
    """

    def __init__(self) -> None:
        self.problems: deque[str] = deque(maxlen=200)
        self._due: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._running: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._loop, name="cloud-timeline", daemon=True)

    def start(self) -> None:
        """Begin to run jobs."""
        self._thread.start()

    def after(self, seconds: float, job: Job) -> None:
        """Run `job` so many seconds from now."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), job))
            self._changed.notify()

    def stop(self, seconds: float = 3.0) -> None:
        """Drop what is not due, wait a little for what runs."""
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify()
        until = time.monotonic() + seconds
        for thread in [self._thread, *self._running]:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))

    def _loop(self) -> None:
        while job := self._next():
            thread = threading.Thread(target=self._run, args=(job,), name="cloud-job", daemon=True)
            with self._changed:
                self._running.add(thread)
            thread.start()

    def _next(self) -> Job | None:
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else 60.0
                if wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None

    def _run(self, job: Job) -> None:
        try:
            job()
        except Exception:  # noqa: BLE001 - a broken host must not end the cloud: noted, and tests look at it
            if not self._stopped:
                self.problems.append(traceback.format_exc())
        finally:
            with self._changed:
                self._running.discard(threading.current_thread())
