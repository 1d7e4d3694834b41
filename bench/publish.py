#!/usr/bin/env python3
"""How long from a line in keepalived's FIFO to an acknowledged PutEvents? Warm, against two peers.

    python3 bench/publish.py [--times N] [--lab] [--no-cli]

The floor is a bare keep-alive request of the same size to the same server: a local process that
answers at once, which is the hardest one to compare with, or (`--lab`) the lab's strict emulator of
EventBridge, which has to look at what it is sent, as AWS does. The peer is what a notify script would
run: `aws events put-events`.
The real publisher is measured from outside: the clock starts when the line is written and stops
when the spool's `acknowledged` file has changed, so durability and acknowledgement are in it.
"""

from __future__ import annotations

import argparse
import ctypes
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from node_hook import sigv4  # noqa: E402

SERVERS = ROOT / "bench" / "servers.py"
IN_MODIFY = 2
GOAL_TIMES, GOAL_CLI = 2.0, 60.0
"""Goals: at most twice the bare request, and at least sixty times faster than the CLI."""

NODE = "i-0123456789abcdef0"
DETAIL_BYTES = 430
"""Of a word; the bare request carries as much."""


class Changes:
    """Waits until a file was written to."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init()
        if library.inotify_add_watch(self._descriptor, os.fsencode(path), IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {path}")

    def wait(self) -> None:
        """Until the next write."""
        os.read(self._descriptor, 4096)


def sample(times: int, once: Callable[[], None], pause: float = 0.0) -> list[float]:
    """Milliseconds of each call, after some to warm up."""
    taken = []
    for i in range(times + 20):
        began = time.perf_counter()
        once()
        if i >= 20:
            taken.append((time.perf_counter() - began) * 1000)
        time.sleep(pause)
    return taken


def bare(port: int, times: int) -> list[float]:
    """The floor: a request over a connection that stays open."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    entry = {"Source": f"baton.bench.node/AROABENCH:{NODE}", "DetailType": "Baton Word"}
    entry["Detail"] = json.dumps({"x": "x" * (DETAIL_BYTES - 9)})
    body = json.dumps({"Entries": [entry]}).encode()
    kind = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AWSEvents.PutEvents"}
    service = sigv4.Service("events", "eu-west-1", f"127.0.0.1:{port}", "/")
    headers = sigv4.headers(service, sigv4.Credentials("AKIDEXAMPLE", "secret"), kind, body, time.time())

    def once() -> None:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        if answer.read() and answer.status != 200:
            raise SystemExit(f"the server does not take events: status {answer.status}")

    return sample(times, once, 0.005)


def flush(root: Path, times: int) -> list[float]:
    """What durability costs alone: a word's bytes written over old ones, and flushed."""
    descriptor = os.open(root / "flush", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"\n" * 65536)
    os.fsync(descriptor)

    def once() -> None:
        os.pwrite(descriptor, b"x" * DETAIL_BYTES, 4096)
        os.fdatasync(descriptor)

    try:
        return sample(times, once, 0.005)
    finally:
        os.close(descriptor)


def fifo(port: int, times: int, root: Path) -> list[float]:
    """The real publisher, from the line to the acknowledgement."""
    (root / "etc").mkdir()
    paths = {"state": str(root / "state"), "run": str(root / "run")}
    document = {
        "version": 1,
        "stage": "bench",
        "cluster": "bench",
        "node": NODE,
        "vrrp_instance": "VI",
        "heartbeat_seconds": 300,
        "role_id": "AROABENCH",
        "region": "eu-west-1",
        "endpoint_url": f"http://127.0.0.1:{port}",
        "paths": paths,
    }
    (root / "etc" / "node.json").write_text(json.dumps(document))
    environment = {
        **os.environ,
        "BATON_CONFIG": str(root / "etc" / "node.json"),
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    with open(root / "log", "wb") as log:
        publisher = subprocess.Popen(
            [sys.executable, str(ROOT / "node_hook" / "publish.py")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        return _lines(root, times)
    finally:
        publisher.terminate()
        publisher.wait(15)


def _lines(root: Path, times: int) -> list[float]:
    # A keepalived by name, holding the FIFO: without one the publisher would say STOP.
    path = root / "run" / "vrrp.fifo"
    acknowledged = root / "state" / "spool" / "acknowledged"
    _await(lambda: path.exists() and acknowledged.exists() and int(acknowledged.read_text() or 0))
    shutil.copy("/bin/sleep", root / "keepalived")
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    keepalived = subprocess.Popen(
        [root / "keepalived", "600"], pass_fds=[descriptor], stdin=subprocess.DEVNULL
    )
    changes = Changes(acknowledged)
    states = ["MASTER", "BACKUP"]

    def once() -> None:
        states.reverse()
        os.write(descriptor, b'INSTANCE "VI" %s 150\n' % states[0].encode())
        changes.wait()

    try:
        return sample(times, once, 0.005)
    finally:
        keepalived.kill()
        keepalived.wait()
        os.close(descriptor)


def cli(port: int, times: int) -> list[float]:
    """The AWS CLI, as a notify script would call it; nothing if it is not installed."""
    program = shutil.which("aws")
    if program is None:
        return []
    entry = {"Source": "bench", "DetailType": "Baton Word", "Detail": json.dumps({"x": "x" * DETAIL_BYTES})}
    command = [program, "events", "put-events", "--entries", json.dumps([entry])]
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        if done.returncode != 0:
            return []
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def _await(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the publisher did not start")
        time.sleep(0.02)


def row(name: str, taken: list[float], floor: float) -> str:
    """A line of the table."""
    median, late = statistics.median(taken), statistics.quantiles(taken, n=20)[18]
    return f"| {name} | {len(taken)} | {median:.2f} | {late:.2f} | {median / floor:.1f} |"


def main() -> int:
    """Measure and print the table; exit 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="FIFO line to acknowledged PutEvents")
    parser.add_argument("--times", type=int, default=300, help="samples of each (the CLI: a fiftieth)")
    parser.add_argument("--no-cli", action="store_true", help="leave the AWS CLI out")
    parser.add_argument("--lab", action="store_true", help="against the lab's EventBridge")
    given = parser.parse_args()
    kind = "lab" if given.lab else "at-once"
    server = subprocess.Popen([sys.executable, str(SERVERS), kind], stdout=subprocess.PIPE, text=True)
    # On the disk, not in a tmpfs: the flush is part of what is measured.
    root = Path(tempfile.mkdtemp(prefix="baton-bench-", dir="/var/tmp"))
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        floor = bare(port, given.times)
        flushes = flush(root, given.times)
        ours = fifo(port, given.times, root)
        floor += bare(port, given.times)
        theirs = [] if given.no_cli else cli(port, max(5, given.times // 50))
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(root)
    return report(floor, flushes, ours, theirs)


def report(floor: list[float], flushes: list[float], ours: list[float], theirs: list[float]) -> int:
    """Print the table and the verdict."""
    least, median = statistics.median(floor), statistics.median(ours)
    print("| what | samples | median ms | p95 ms | times the floor |\n|---|---|---|---|---|")
    print(row("bare keep-alive request (floor)", floor, least))
    print(row("one durable write (the disk's floor)", flushes, least))
    print(row("FIFO line to acknowledged PutEvents, durable", ours, least))
    verdicts = [median / least <= GOAL_TIMES]
    if theirs:
        print(row("aws events put-events", theirs, least))
        verdicts.append(statistics.median(theirs) / median >= GOAL_CLI)
        print(f"\n{statistics.median(theirs) / median:.0f} times faster than the CLI (goal: {GOAL_CLI:.0f})")
    print(f"{median / least:.1f} times the floor (goal: at most {GOAL_TIMES:.0f})")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
