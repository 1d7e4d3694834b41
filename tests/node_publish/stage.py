"""A stage for the publisher: an EventBridge that plays its part, a node's directories, the daemon.

Tests look at what the server received and at what is on disk.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

from node_hook.spool import Spool

ROOT = Path(__file__).resolve().parents[2]
PUBLISH = ROOT / "node_hook" / "publish.py"
SOURCE = "baton.test.node/AROATESTTESTTEST:i-0123456789abcdef0"


class Bus:
    """EventBridge's end: takes PutEvents, keeps what it took, and misbehaves on request."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        """The Details of the entries it acknowledged, in order."""
        self.entries: list[dict[str, Any]] = []
        self.calls: list[int] = []
        """How many entries each call had, refused ones too."""
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.hangs_up = False
        """Close the connection after each answer, without saying so."""
        self.behave: Callable[[int, list[dict[str, Any]]], Any] = lambda call, entries: None
        """Given the call's number and entries: None to take them; a list of error codes, one per
        entry; (status, body) to refuse; or a number of seconds to hang."""
        self.ahead = 0.0
        """Seconds that this server's clock is ahead of ours."""
        self._server = _server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def words(self, *kinds: str) -> list[dict[str, Any]]:
        """What it took, of these kinds."""
        return [word for word in list(self.taken) if not kinds or word["kind"] in kinds]

    def answer(self, entries: list[dict[str, Any]]) -> tuple[int, bytes]:
        """Take the entries, or do what `behave` says."""
        self.calls.append(len(entries))
        what = self.behave(len(self.calls), entries)
        if isinstance(what, tuple):
            return int(what[0]), json.dumps(what[1]).encode()
        if isinstance(what, (int, float)):
            time.sleep(what)
        codes = what if isinstance(what, list) else [""] * len(entries)
        answers = []
        for entry, code in zip(entries, codes, strict=True):
            if not code:
                self.entries.append(entry)
                self.taken.append(json.loads(entry["Detail"]))
            answers.append({"ErrorCode": code} if code else {"EventId": str(len(self.taken))})
        failed = sum(bool(code) for code in codes)
        return 200, json.dumps({"FailedEntryCount": failed, "Entries": answers}).encode()


def _server(bus: Bus) -> socketserver.TCPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            bus.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, content = bus.answer(json.loads(body)["Entries"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = self.close_connection or bus.hangs_up

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() + bus.ahead, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            bus.connections += 1
            # A killed publisher leaves a broken connection behind: no news here.
            with contextlib.suppress(OSError):
                super().handle()

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@dataclass
class Node:
    """A node's directories and its publisher."""

    root: Path
    bus: Bus
    settings: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)
    prefix: tuple[str, ...] = ()
    python: str = sys.executable

    def __post_init__(self) -> None:
        for name in ("etc", "state", "run", "bin", "tmp"):
            (self.root / name).mkdir(exist_ok=True)
        (self.root / "boot").write_text("11111111-2222-3333-4444-555555555555\n")
        self.agent("inactive", 0)
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Write node.json."""
        self.settings.update(settings)
        paths = {
            "state": str(self.root / "state"),
            "run": str(self.root / "run"),
            "boot_id": str(self.root / "boot"),
            "keepalived_pid": str(self.root / "run" / "keepalived.pid"),
        }
        document = {
            "version": 1,
            "stage": "test",
            "cluster": "orders",
            "node": "i-0123456789abcdef0",
            "vrrp_instance": "baton-orders",
            "priority": 254,
            "heartbeat_seconds": 300,
            "region": "eu-west-1",
            "endpoint_url": self.bus.url,
            "role_id": "AROATESTTESTTEST",
            **self.settings,
            "paths": {**paths, **self.settings.get("paths", {})},
        }
        (self.root / "etc" / "node.json").write_text(json.dumps(document))

    def agent(self, active: str, pid: int) -> None:
        """What this node's systemctl says of the SSM agent."""
        script = self.root / "bin" / "systemctl"
        fresh = script.with_suffix(".new")
        fresh.write_text(f"#!/bin/sh\necho ActiveState={active}\necho MainPID={pid}\n")
        fresh.chmod(0o755)
        fresh.replace(script)

    @property
    def environment(self) -> dict[str, str]:
        """What the publisher's processes are given."""
        run = {name: os.environ[name] for name in ("BATON_TEST_RUN",) if name in os.environ}
        return {
            **run,
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "BATON_CONFIG": str(self.root / "etc" / "node.json"),
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        }

    def start(self, **more: str) -> None:
        """Start the daemon; its log goes to a file."""
        with open(self.root / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, self.python, str(PUBLISH)],
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ready(self) -> None:
        """Start it and wait until it has published that it did."""
        before = len(self.bus.words("start"))
        self.start()
        wait(lambda: len(self.bus.words("start")) > before, self)

    def stop(self) -> int:
        """Stop it in order; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(15)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)

    def keepalived(self) -> subprocess.Popen[bytes]:
        """A process that is keepalived by name, and has the FIFO open; it says only what it is made
        to say by `vrrp`, and cannot be asked."""
        program = self.root / "bin" / "keepalived"
        if not program.exists():
            shutil.copy("/bin/sleep", program)
        fifo = self.root / "run" / "vrrp.fifo"
        wait(fifo.exists, self)
        descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        try:
            # In a network of its own, so that no other test's publisher takes it for its own.
            apart = ["unshare", "-n"] if os.geteuid() == 0 else []
            process = subprocess.Popen(
                [*apart, program, "1000"],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        finally:
            os.close(descriptor)
        self.others.append(process)
        return process

    def line(self, text: str) -> None:
        """Write to the FIFO as keepalived does: never waiting."""
        descriptor = os.open(self.root / "run" / "vrrp.fifo", os.O_RDWR | os.O_NONBLOCK)
        os.write(descriptor, text.encode() + b"\n")
        os.close(descriptor)

    def vrrp(self, state: str, priority: int = 254) -> None:
        """A line as keepalived writes it."""
        self.line(f'INSTANCE "baton-orders" {state} {priority}')

    def notify(self, *arguments: str) -> int:
        """The notify hook."""
        command = [sys.executable, str(PUBLISH), "notify", *arguments]
        with open(self.root / "log", "ab") as log:
            return subprocess.run(
                command, env=self.environment, stdout=log, stderr=log, check=False, timeout=20
            ).returncode

    def spooled(self) -> list[dict[str, Any]]:
        """Every word in the spool, acknowledged or not."""
        return [json.loads(entry.text) for entry in Spool(str(self.root / "state" / "spool")).refresh()]

    @property
    def log(self) -> str:
        """What the daemon logged."""
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def view(self) -> dict[str, Any]:
        """state.json."""
        found: dict[str, Any] = json.loads((self.root / "run" / "state.json").read_text())
        return found


def wait(condition: Callable[[], object], node: Node | None = None, seconds: float = 20.0) -> None:
    """Until this holds; a failure shows the daemon's log and what the bus took."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            shown = f"\n{node.log}\n{node.bus.taken}" if node else ""
            raise AssertionError(f"not within {seconds} s{shown}")
        time.sleep(0.005)


@contextlib.contextmanager
def stage(root: Path, **settings: Any) -> Iterator[Node]:
    """A node and its bus, gone afterwards."""
    node = Node(root, Bus(), settings)
    try:
        yield node
    finally:
        node.kill()
        for process in node.others:
            process.kill()
            process.wait(5)
        node.bus.stop()
