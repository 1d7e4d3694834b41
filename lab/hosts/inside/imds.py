"""The instance metadata service of a host, version 2: no token, no answer.

    imds DATA_JSON READY_FD

Serves 169.254.169.254:80 inside the host. DATA_JSON is read anew for each request, because EC2
changes what it says while the host runs:
{"latest/meta-data/instance-id": "i-1", ...}; a path that is a prefix of others lists them.
"""

import json
import os
import secrets
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = ("169.254.169.254", 80)
TOKEN_HEADER = "X-aws-ec2-metadata-token"
TOKENS: set[str] = set()
TOKENS_MOST = 10_000


class Handler(BaseHTTPRequestHandler):
    """PUT gives a token; GET with it gives data."""

    protocol_version = "HTTP/1.1"
    # Buffered and sent at once: else each answer waits for the peer's delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        """A session token, as IMDSv2 wants it."""
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        if self.path != "/latest/api/token" or seconds is None:
            self.answer(400, "")
            return
        if len(TOKENS) >= TOKENS_MOST:
            TOKENS.clear()
        token = secrets.token_urlsafe(32)
        TOKENS.add(token)
        self.answer(200, token, {"X-aws-ec2-metadata-token-ttl-seconds": seconds})

    def do_GET(self) -> None:
        """A value, or the list of what lies below."""
        if self.headers.get(TOKEN_HEADER, "") not in TOKENS:
            self.answer(401, "")
            return
        with open(sys.argv[1], encoding="utf-8") as file:
            data = json.load(file)
        text = look_up(data, self.path)
        self.answer(404 if text is None else 200, text or "")

    def answer(self, code: int, text: str, headers: "dict[str, str] | None" = None) -> None:
        """Send it whole."""
        self.send_response(code)
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: there is nobody to read it."""


class Server(ThreadingHTTPServer):
    """Without the standard one's look-up of its own name, which waits for a name server."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, and nothing else."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS


def look_up(data: "dict[str, str]", path: str) -> "str | None":
    """The value at a path, else the names below it, else None."""
    key = path.split("?")[0].strip("/")
    if key in data:
        return data[key]
    below = [other[len(key) + 1 :] for other in data if other.startswith(key + "/")]
    names = {name.split("/")[0] + ("/" if "/" in name else "") for name in below}
    return "\n".join(sorted(names)) if names else None


def main(given: list[str]) -> int:
    """Serve until killed."""
    server = Server(ADDRESS, Handler)
    os.write(int(given[1]), b"up")
    os.close(int(given[1]))
    server.serve_forever()
    return 0
