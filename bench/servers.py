#!/usr/bin/env python3
"""The servers that publishing is measured against: `servers.py at-once` or `servers.py lab`.

The first line of the output is the port.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Handler(http.server.BaseHTTPRequestHandler):
    """EventBridge's part."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Take the events."""
        body = self.rfile.read(int(self.headers["content-length"]))
        entries = [{"EventId": "1"} for _ in json.loads(body)["Entries"]]
        content = json.dumps({"FailedEntryCount": 0, "Entries": entries}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """One thread per connection."""

    daemon_threads = True


def serve() -> None:
    """Be the server that answers at once."""
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def serve_lab() -> None:
    """Be the lab's AWS, without the time that it adds to each call; needs the checkout's `.venv`."""
    sys.path.insert(0, str(ROOT))
    from lab.cloud.cloud import Cloud
    from lab.cloud.settings import Latencies

    with Cloud.start(latencies=Latencies.fast()) as cloud:
        print(cloud.endpoint.rpartition(":")[2], flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    (serve_lab if sys.argv[1:] == ["lab"] else serve)()
