"""One Lambda execution environment: the unpacked zip, run by awslambdaric as on Lambda.

The runtime is Amazon's own client (awslambdaric, from PyPI) in a virtual environment that
holds it and boto3 and nothing else; the function's zip comes first on its path. It talks to a
small Runtime API server (Lambda developer guide, "Using the Lambda runtime API").

Between invocations the process is stopped (SIGSTOP), as Lambda freezes it: a thread that a
handler left behind does not run on, and is reported.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
import zipfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.cloud import runtime_api
from lab.cloud.keeper import Keeper
from lab.cloud.runtime_api import Program

_INIT_SECONDS = 10.0
"""Lambda gives the code so long to load before the function's own timeout begins to count."""
_NEXT_SECONDS = 2.0
"""After its answer a runtime asks for the next event at once; else it is not frozen."""
_LOG_SECONDS = 0.2
"""How long the last lines of a handler may take through the pipe."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of one invocation. `kind` is "response", "error" (the handler raised),
    "init" (it could not be loaded), "timeout", or "crash" (the process ended)."""

    request_id: str
    kind: str
    body: bytes
    log: tuple[str, ...]
    seconds: float
    threads: int = 0
    """Threads that the handler left behind."""

    @property
    def failed(self) -> bool:
        """Whether Lambda counts it as a function error."""
        return self.kind != "response"


class Environment:
    """A process that runs one function, one invocation at a time."""

    def __init__(
        self,
        program: Program,
        python: Path,
        variables: dict[str, str],
        log: Callable[[str], None],
        keeper: Keeper,
    ) -> None:
        self.program = program
        self._log = log
        self._lines: deque[str] = deque(maxlen=2_000)
        self._events: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, str, bytes]] = queue.Queue()
        self._asked = threading.Event()
        self._frozen = False
        self._threads = 0
        self._closed = False
        self._closing = threading.Lock()
        self._keeper = keeper
        self._root = Path(tempfile.mkdtemp(prefix="lambda-"))
        zipfile.ZipFile(io.BytesIO(program.code)).extractall(self._root)
        self._server = runtime_api.serve(self)
        self._process = self._start(python, variables)
        keeper.keep(self._process.pid)
        threading.Thread(target=self._read, name=f"{program.name}-log", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation."""
        return not self._closed and self._process.poll() is None

    def invoke(self, payload: bytes) -> Invocation:
        """Run the handler once; bounded by the function's timeout."""
        request_id = str(uuid.uuid4())
        self._initialised()
        self._lines.clear()
        self._thaw()
        began = time.monotonic()
        limit = self.program.timeout
        self._events.put((request_id, payload, time.time() + limit))
        kind, body = self._wait(request_id, began + limit)
        if kind == "timeout":
            self._note(f"{request_id} Task timed out after {limit:.2f} seconds")
            self.close()
        threads = self._freeze() if self.alive else 0
        if threads:
            self._note(f"{request_id} the handler left {threads} thread(s) behind")
        log = tuple(self._lines)
        return Invocation(request_id, kind, body, log, time.monotonic() - began, threads)

    def close(self) -> None:
        """Kill the process and what it started; reap it; remove its files. Idempotent."""
        if not self._closing.acquire(blocking=False):
            return
        self._closed = True
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        self._keeper.let_go(self._process.pid)
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._root, ignore_errors=True)

    def kill(self) -> None:
        """Let it crash: Lambda's machine is gone in the middle of whatever it does."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """Let it stand still in the middle of whatever it does, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def next_event(self) -> tuple[str, bytes, float] | None:
        """For the Runtime API: the runtime asks for work. None once there is none any more."""
        if not self._asked.is_set() and not self._threads:
            self._threads = self._count_threads()
        self._asked.set()
        while not self._closed:
            with contextlib.suppress(queue.Empty):
                return self._events.get(timeout=0.5)
        return None

    def answer(self, request_id: str, kind: str, body: bytes) -> None:
        """For the Runtime API: the runtime has an answer; "" means whichever is under way."""
        self._answers.put((request_id, kind, body))

    def _start(self, python: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        host, port = self._server.server_address[:2]
        environment = {
            **variables,
            **dict(self.program.variables),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "AWS_LAMBDA_RUNTIME_API": f"{host!s}:{port}",
            "LAMBDA_TASK_ROOT": str(self._root),
            "PYTHONPATH": str(self._root),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "_HANDLER": self.program.handler,
        }
        return subprocess.Popen(
            [str(python), "-m", "awslambdaric", self.program.handler],
            cwd=self._root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _initialised(self) -> None:
        """Wait until the runtime has loaded the code: it then asks for an event, or ends."""
        until = time.monotonic() + _INIT_SECONDS
        while not self._asked.wait(0.02):
            if not self.alive or not self._answers.empty() or time.monotonic() > until:
                return

    def _wait(self, request_id: str, until: float) -> tuple[str, bytes]:
        while True:
            with contextlib.suppress(queue.Empty):
                answered, kind, body = self._answers.get(timeout=0.05)
                if answered in ("", request_id):
                    return kind, body
            if self._process.poll() is not None and self._answers.empty():
                text = (
                    f"RequestId: {request_id} Error: Runtime exited with error: exit status "
                    f"{self._process.returncode}"
                )
                return "crash", _error("Runtime.ExitError", text)
            if time.monotonic() > until:
                text = f"RequestId: {request_id} Error: Task timed out after "
                text += f"{self.program.timeout:.2f} seconds"
                return "timeout", _error("Sandbox.Timedout", text)

    def _thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)
        self._asked.clear()

    def _freeze(self) -> int:
        """Stop the process once it asks for the next event; returns how many threads it has
        more than when it had just started."""
        if not self._asked.wait(_NEXT_SECONDS) or not self.alive:
            return 0
        self._drain()
        left = max(0, self._count_threads() - max(1, self._threads))
        self._signal(signal.SIGSTOP)
        self._frozen = True
        return left

    def _count_threads(self) -> int:
        with contextlib.suppress(OSError):
            return len(os.listdir(f"/proc/{self._process.pid}/task"))
        return 0

    def _drain(self) -> None:
        """Wait until the lines that the handler printed have been read."""
        seen, until = -1, time.monotonic() + _LOG_SECONDS
        while seen != len(self._lines) and time.monotonic() < until:
            seen = len(self._lines)
            time.sleep(0.003)

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                self._note(line.decode(errors="replace").rstrip("\n"))
        stream.close()

    def _note(self, line: str) -> None:
        self._lines.append(line)
        self._log(f"{self.program.name} {line}")


def _error(kind: str, text: str) -> bytes:
    return f'{{"errorType": "{kind}", "errorMessage": "{text}"}}'.encode()
