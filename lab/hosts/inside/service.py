"""Services as real processes: starting, supervising and stopping them as systemd does.

A service's processes carry INVOCATION_ID in their environment, as systemd's do; that, and descent
from the main process, stands in for systemd's cgroup.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from functools import partial
from typing import Any

from lab.hosts.inside import notify, units
from lab.hosts.inside.states import EMPTY, STATE, job, lives, processes, state, update

LOGS = "/var/log/lab"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLL_SECONDS = 0.01


def environment(unit: units.Unit, invocation: str, main: int = 0) -> dict[str, str]:
    """What a service's process gets: nothing of the caller's but the lab's mark."""
    given = {"PATH": PATH, "LANG": "C.UTF-8", "INVOCATION_ID": invocation}
    if "BATON_LAB" in os.environ:
        given["BATON_LAB"] = os.environ["BATON_LAB"]
    if main:
        given["MAINPID"] = str(main)
    return {**given, **unit.environment()}


def spawn(unit: units.Unit, command: str, given: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Run one Exec line, its output in the service's log."""
    os.makedirs(LOGS, exist_ok=True)
    words, _ = units.argv(command, given)
    with open(f"{LOGS}/{unit.name}.log", "ab") as log:
        return subprocess.Popen(
            words,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=unit.one("Service.WorkingDirectory", "/").removeprefix("-"),
            start_new_session=True,
        )


def execute(unit: units.Unit, key: str, given: dict[str, str], seconds: float) -> int:
    """Run the lines of one Exec key one after the other; the first failure that counts, or 0."""
    for command in unit.all(f"Service.{key}"):
        process = spawn(unit, command, given)
        try:
            code = process.wait(None if seconds == float("inf") else seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            code = -signal.SIGKILL
        if code != 0 and not units.argv(command, given)[1]:
            return code
    return 0


def start(unit: units.Unit) -> bool:
    """Start a service, and wait as long as its Type wants; True if it is up."""
    with job(unit.name):
        if state(unit.name)["active"] == "active":
            return True
        for wanted in (*unit.words("Unit.Requires"), *unit.words("Unit.Wants")):
            with contextlib.suppress(units.NoUnit):
                if wanted.endswith(".service"):
                    start(units.load(wanted))
        invocation = uuid.uuid4().hex
        update(
            unit.name,
            **{
                **EMPTY,
                "active": "activating",
                "invocation": invocation,
                "began": time.monotonic(),
                "wanted": True,
            },
        )
        return _start_by_type(unit, invocation)


def _start_by_type(unit: units.Unit, invocation: str) -> bool:
    seconds = unit.seconds("Service.TimeoutStartSec", units.TIMEOUT_SECONDS)
    given = environment(unit, invocation)
    for directory, base in (("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib")):
        for name in unit.words(f"Service.{directory}"):
            os.makedirs(f"{base}/{name}", exist_ok=True)
    code = execute(unit, "ExecStartPre", given, seconds)
    if code == 0 and unit.kind == "oneshot":
        code = execute(unit, "ExecStart", given, seconds)
        stays = unit.truth("Service.RemainAfterExit", False)
        update(unit.name, active="active" if stays else "inactive")
    elif code == 0:
        code = _supervised(unit, seconds)
    if code == 0:
        code = execute(unit, "ExecStartPost", given, seconds)
    if code != 0:
        _kill_rest(unit, seconds=1.0)
        update(unit.name, active="failed", result="exit-code", status=code, wanted=False)
    return code == 0


def _supervised(unit: units.Unit, seconds: float) -> int:
    """Leave the service to a supervisor of its own, and wait until it is up or has failed."""
    keep = {key: os.environ[key] for key in ("BATON_LAB",) if key in os.environ}
    subprocess.Popen(
        [sys.executable, "-IS", sys.argv[0], "--supervise", unit.name],
        env={"PATH": PATH, **keep},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + seconds
    while state(unit.name)["active"] == "activating":
        if time.monotonic() > until:
            update(unit.name, wanted=False)
            return 1
        time.sleep(POLL_SECONDS)
    now = state(unit.name)
    return 0 if now["active"] == "active" or now["result"] == "success" else int(now["status"]) or 1


def supervise(unit: units.Unit) -> None:
    """Be a service's parent: run it, record how it ended, run it again if the unit says so.

    While it waits to run it again, the service may be stopped, or started anew with a supervisor of
    its own: then this one has nothing to say any more.
    """
    invocation = state(unit.name)["invocation"]
    while _again(unit, invocation, _run_main(unit)):
        time.sleep(unit.seconds("Service.RestartSec", units.RESTART_SECONDS))
        now = state(unit.name)
        if not now["wanted"] or now["invocation"] != invocation:
            return
        update(unit.name, restarts=now["restarts"] + 1)


def _again(unit: units.Unit, invocation: str, code: int) -> bool:
    """Record how a run ended; whether another one follows."""
    now = state(unit.name)
    if now["invocation"] != invocation:
        return False
    if not now["wanted"]:
        update(unit.name, main=0, status=code)
        return False
    result = "success" if code in (0, -signal.SIGTERM) else "exit-code" if code > 0 else "signal"
    again = _restarts(unit, result)
    active = "activating" if again else "inactive" if result == "success" else "failed"
    update(unit.name, main=0, status=code, result=result, active=active)
    return again


def _run_main(unit: units.Unit) -> int:
    given = environment(unit, state(unit.name)["invocation"])
    with notify.Listener(f"{STATE}/{unit.name}.notify", unit.kind == "notify") as listener:
        given.update(listener.environment())
        try:
            process = spawn(unit, unit.one("Service.ExecStart"), given)
        except OSError:
            return 203
        if unit.kind == "forking" and process.wait() == 0:
            return _follow(unit)
        update(unit.name, main=process.pid)
        if listener.ready(process):
            update(unit.name, active="active")
    return process.wait()


def _follow(unit: units.Unit) -> int:
    """The main process of a forking service is no child of ours: watch it by its PID file."""
    with open(unit.one("Service.PIDFile"), encoding="ascii") as file:
        main = int(file.read())
    update(unit.name, main=main, active="active")
    while os.path.exists(f"/proc/{main}"):
        time.sleep(0.1)
    return 0


def _restarts(unit: units.Unit, result: str) -> bool:
    policy = unit.one("Service.Restart", "no")
    if policy in ("always", "no"):
        return policy == "always"
    return (policy == "on-success") == (result == "success")


def stop(unit: units.Unit) -> None:
    """ExecStop, then signals by KillMode, then ExecStopPost. Stopped already: done."""
    with job(unit.name):
        now = state(unit.name)
        if now["active"] in ("inactive", "failed") and not processes(unit.name):
            return
        update(unit.name, active="deactivating", wanted=False)
        seconds = unit.seconds("Service.TimeoutStopSec", units.TIMEOUT_SECONDS)
        given = environment(unit, now["invocation"], now["main"])
        execute(unit, "ExecStop", given, seconds)
        timely = _kill_rest(unit, seconds)
        execute(unit, "ExecStopPost", given, seconds)
        update(
            unit.name,
            active="inactive" if timely else "failed",
            main=0,
            result="success" if timely else "timeout",
        )


def _kill_rest(unit: units.Unit, seconds: float) -> bool:
    """Signal what is left, wait, kill. False if SIGKILL was needed."""
    mode = unit.one("Service.KillMode", "control-group")
    number = getattr(signal, unit.one("Service.KillSignal", "SIGTERM"))
    main = state(unit.name)["main"]
    if mode == "none":
        return True
    _signal([main] if mode in ("process", "mixed") else processes(unit.name), number)
    watched = (
        (lambda: [pid for pid in [main] if pid and lives(pid)])
        if mode in ("process", "mixed")
        else (lambda: processes(unit.name))
    )
    timely = _gone(watched, seconds)
    if mode == "mixed" or (not timely and unit.truth("Service.SendSIGKILL", True)):
        rest = watched if mode == "process" else partial(processes, unit.name)
        _signal(rest(), signal.SIGKILL)
        # What hangs in the kernel does not die; systemd gives up on it as well.
        _gone(rest, min(seconds, 5.0))
    return timely


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        for each in (number, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, each)


def _gone(watched: Any, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while watched():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True
