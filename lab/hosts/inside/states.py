"""What is known of each service in this boot, and which processes are its own.

State lives in /run and dies with the boot.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

STATE = "/run/systemd/lab"
EMPTY: dict[str, Any] = {
    "active": "inactive",
    "main": 0,
    "invocation": "",
    "result": "success",
    "status": 0,
    "began": 0.0,
    "restarts": 0,
    "wanted": False,
}


def state(name: str) -> dict[str, Any]:
    """What is known of a service in this boot."""
    try:
        with open(f"{STATE}/{name}.json", encoding="utf-8") as file:
            return {**EMPTY, **json.load(file)}
    except OSError:
        return dict(EMPTY)


def update(name: str, **changes: Any) -> dict[str, Any]:
    """Change some of it; others see the old or the new, whole."""
    os.makedirs(STATE, exist_ok=True)
    with open(f"{STATE}/{name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        now = {**state(name), **changes}
        with open(f"{STATE}/{name}.new", "w", encoding="utf-8") as file:
            json.dump(now, file)
        os.replace(f"{STATE}/{name}.new", f"{STATE}/{name}.json")
    return now


@contextlib.contextmanager
def job(name: str) -> Iterator[None]:
    """One start or stop of a service at a time, as systemd's jobs."""
    os.makedirs(STATE, exist_ok=True)
    with open(f"{STATE}/{name}.job", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def names() -> list[str]:
    """Services with a state in this boot."""
    if not os.path.isdir(STATE):
        return []
    return [entry.removesuffix(".json") for entry in os.listdir(STATE) if entry.endswith(".json")]


def processes(name: str) -> list[int]:
    """All processes of a service: by invocation, and by descent from its main process."""
    now = state(name)
    if not now["invocation"]:
        return []
    mark = f"INVOCATION_ID={now['invocation']}".encode()
    found = {now["main"]} - {0}
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/environ", "rb") as file:
                found |= {pid} if mark in file.read().split(b"\0") else set()
    return [pid for pid in found if lives(pid)]


def lives(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2][:1] not in ("Z", "X", "")
    except OSError:
        return False
