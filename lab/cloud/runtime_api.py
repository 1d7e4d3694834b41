"""The Runtime API that a Lambda function's runtime talks to: Lambda developer guide, "Using the
Lambda runtime API". One small server for each execution environment."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: taken from the function's configuration when the environment is made."""

    name: str
    arn: str
    handler: str
    code: bytes = field(repr=False)
    timeout: float
    variables: tuple[tuple[str, str], ...]


class Owner(Protocol):
    """The environment that is served."""

    program: Program

    def next_event(self) -> tuple[str, bytes, float] | None:
        """The runtime asks for work: request id, event, deadline. None: there is no more."""

    def answer(self, request_id: str, kind: str, body: bytes) -> None:
        """The runtime has an answer; request id "": to whichever event is under way."""


def serve(owner: Owner) -> ThreadingHTTPServer:
    """Serve one environment, in a daemon thread."""
    handler = type("Handler", (_RuntimeApi,), {"owner": owner})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.name = f"{owner.program.name}-api"
    thread.start()
    return server


class _RuntimeApi(BaseHTTPRequestHandler):
    """The Runtime API of one environment. Unbuffered writes and Nagle cost 80 ms a call."""

    owner: Owner
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """`/runtime/invocation/next`."""
        event = self.owner.next_event()
        if event is None:
            self.close_connection = True
            return
        request_id, payload, deadline = event
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.owner.program.arn,
            "Lambda-Runtime-Trace-Id": "Root=1-0-0;Parent=0;Sampled=0",
            "Content-Type": "application/json",
        }
        self._send(200, payload, headers)

    def do_POST(self) -> None:
        """`/runtime/invocation/<id>/response` or `/error`, and `/runtime/init/error`."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.strip("/").split("/")
        self._send(202, b'{"status":"OK"}', {"Content-Type": "application/json"})
        if "invocation" in parts:
            self.owner.answer(parts[-2], parts[-1], body)
        else:
            self.owner.answer("", "init", body)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
