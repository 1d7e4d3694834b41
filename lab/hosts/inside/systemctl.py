"""A stand-in for systemctl: the same words and exit codes, on real unit files and real processes.

systemd cannot run as PID 1 in the lab's hosts. Verbs: start stop restart try-restart reload kill
is-active is-failed is-enabled enable disable mask unmask show cat status daemon-reload
reset-failed is-system-running; `isolate default.target` boots and `isolate shutdown.target` stops
everything in order, as systemd does at power-on and power-off.
"""

import os
import signal
import sys

from lab.hosts.inside import service, states, units

WANTS = "/etc/systemd/system/multi-user.target.wants"
STOPPING = f"{states.STATE}/stopping"
NOT_ACTIVE, NO_SUCH_UNIT = 3, 4
FLAGS_WITH_VALUE = ("-p", "--property", "-s", "--signal", "--kill-who", "-t", "--type", "-n")


def start(name: str) -> int:
    """Start it; complain as systemctl does."""
    if os.path.exists(STOPPING) or enabled(name) == "masked":
        sys.stderr.write(f"Failed to start {name}: Unit is masked, or the system shuts down.\n")
        return 1
    if service.start(units.load(name)):
        return 0
    sys.stderr.write(f"Job for {name} failed; its output is in {service.LOGS}/{name}.log.\n")
    return 1


def stop(name: str) -> int:
    """Stop it, and wait for its processes to end."""
    service.stop(units.load(name))
    return 0


def restart(name: str) -> int:
    """Stop, then start."""
    return stop(name) or start(name)


def try_restart(name: str) -> int:
    """Restart it if it runs."""
    return restart(name) if states.state(name)["active"] == "active" else 0


def reload(name: str) -> int:
    """ExecReload of a running service."""
    now, unit = states.state(name), units.load(name)
    if now["active"] != "active":
        return 1
    given = service.environment(unit, now["invocation"], now["main"])
    return service.execute(unit, "ExecReload", given, units.TIMEOUT_SECONDS)


def is_active(name: str) -> int:
    """Exit 0 if active, else 3, and print which state it is in."""
    active = states.state(name)["active"]
    print(active)
    return 0 if active in ("active", "reloading") else NOT_ACTIVE


def is_failed(name: str) -> int:
    """Exit 0 if failed."""
    active = states.state(name)["active"]
    print(active)
    return 0 if active == "failed" else 1


def enabled(name: str) -> str:
    """enabled, disabled, static or masked; empty if there is no such unit."""
    if os.path.realpath(f"/etc/systemd/system/{name}") == "/dev/null":
        return "masked"
    try:
        unit = units.load(name)
    except units.NoUnit:
        return ""
    if os.path.lexists(f"{WANTS}/{name}"):
        return "enabled"
    return "disabled" if unit.words("Install.WantedBy") else "static"


def is_enabled(name: str) -> int:
    """Exit 0 if it starts at boot."""
    how = enabled(name)
    if not how:
        sys.stderr.write(f"Failed to get unit file state for {name}: No such file or directory\n")
        return 1
    print(how)
    return 0 if how in ("enabled", "static") else 1


def enable(name: str) -> int:
    """Start it at each boot from now on."""
    os.makedirs(WANTS, exist_ok=True)
    if not os.path.lexists(f"{WANTS}/{name}"):
        os.symlink(units.load(name).path, f"{WANTS}/{name}")
    return 0


def disable(name: str) -> int:
    """Do not start it at boot."""
    if os.path.lexists(f"{WANTS}/{name}"):
        os.unlink(f"{WANTS}/{name}")
    return 0


def mask(name: str) -> int:
    """Make it impossible to start."""
    os.symlink("/dev/null", f"/etc/systemd/system/{name}")
    return 0


def unmask(name: str) -> int:
    """Undo mask."""
    if enabled(name) == "masked":
        os.unlink(f"/etc/systemd/system/{name}")
    return 0


def cat(name: str) -> int:
    """Print the unit file."""
    path = units.load(name).path
    with open(path, encoding="utf-8") as file:
        print(f"# {path}\n{file.read()}")
    return 0


def status(name: str) -> int:
    """A short answer for people."""
    now = states.state(name)
    print(f"{name}\n     Active: {now['active']} ({now['result']})\n   Main PID: {now['main']}")
    return 0 if now["active"] == "active" else NOT_ACTIVE


def reset_failed(name: str) -> int:
    """Forget a failure."""
    if states.state(name)["active"] == "failed":
        states.update(name, active="inactive", result="success")
    return 0


def properties(name: str) -> dict[str, str]:
    """What `show` prints."""
    now = states.state(name)
    running = {
        "active": "running",
        "inactive": "dead",
        "failed": "failed",
        "activating": "start",
        "deactivating": "stop-sigterm",
    }
    try:
        unit = units.load(name)
        loaded, path, kill_mode = "loaded", unit.path, unit.one("Service.KillMode", "control-group")
        sub = "exited" if unit.kind == "oneshot" and not now["main"] else "running"
    except units.NoUnit:
        loaded, path, kill_mode, sub = "not-found", "", "", "dead"
    return {
        "Id": name,
        "LoadState": "masked" if enabled(name) == "masked" else loaded,
        "ActiveState": now["active"],
        "SubState": sub if now["active"] == "active" else running[now["active"]],
        "MainPID": str(now["main"]),
        "Result": now["result"],
        "UnitFileState": enabled(name),
        "ExecMainStatus": str(abs(now["status"])),
        "NRestarts": str(now["restarts"]),
        "InvocationID": now["invocation"],
        "FragmentPath": path,
        "KillMode": kill_mode,
    }


def show(name: str, wanted: list[str], bare: bool) -> int:
    """Print properties as `Name=value`, or their values."""
    for key, value in properties(name).items():
        if not wanted or key in wanted:
            print(value if bare else f"{key}={value}")
    return 0


def kill(name: str, number: str) -> int:
    """Signal all processes of a service."""
    for pid in states.processes(name):
        os.kill(pid, getattr(signal, number if number.startswith("SIG") else f"SIG{number}"))
    return 0


def isolate(target: str) -> int:
    """Boot, or shut down in order."""
    if full(target) in ("shutdown.target", "poweroff.target", "reboot.target"):
        os.makedirs(states.STATE, exist_ok=True)
        open(STOPPING, "wb").close()
        active = [
            name for name in states.names() if states.state(name)["active"] not in ("inactive", "failed")
        ]
        active.sort(key=lambda name: float(states.state(name)["began"]))
        for name in reversed(units.ordered(active)):
            stop(name)
        return 0
    wanted = sorted(os.listdir(WANTS)) if os.path.isdir(WANTS) else []
    return max([start(name) for name in units.ordered(wanted)], default=0)


def full(target: str) -> str:
    """A target's full name."""
    return target if "." in target else target + ".target"


VERBS = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "try-restart": try_restart,
    "reload": reload,
    "is-active": is_active,
    "is-failed": is_failed,
    "is-enabled": is_enabled,
    "enable": enable,
    "disable": disable,
    "mask": mask,
    "unmask": unmask,
    "cat": cat,
    "status": status,
    "reset-failed": reset_failed,
}


def arguments(given: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Words, and options with their values."""
    words: list[str] = []
    options: dict[str, list[str]] = {}
    rest = iter(given)
    for word in rest:
        if not word.startswith("-"):
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        value = value if equals else next(rest, "") if name in FLAGS_WITH_VALUE else ""
        options.setdefault(name, []).append(value)
    return words, options


def main(given: list[str]) -> int:
    """The command line; the worst exit code of the units named."""
    words, options = arguments(given)
    if "--supervise" in options:
        service.supervise(units.load(words[0]))
        return 0
    if "-q" in options or "--quiet" in options:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    verb, names = (words[0] if words else "", [units.full_name(name) for name in words[1:]])
    try:
        return dispatch(verb, names, options)
    except units.NoUnit as missing:
        sys.stderr.write(f"Failed to {verb}: {missing}\n")
        return NO_SUCH_UNIT if verb == "status" else 5


def dispatch(verb: str, names: list[str], options: dict[str, list[str]]) -> int:
    """Perform one verb on each unit."""
    if verb == "daemon-reload":
        return 0
    if verb == "is-system-running":
        stopping = os.path.exists(STOPPING)
        print("stopping" if stopping else "running")
        return 1 if stopping else 0
    if verb == "isolate":
        return isolate(names[0].removesuffix(".service"))
    if verb == "show":
        wanted = [
            key for value in options.get("-p", []) + options.get("--property", []) for key in value.split(",")
        ]
        return max([show(name, wanted, "--value" in options) for name in names], default=0)
    if verb == "kill":
        number = (options.get("-s", []) + options.get("--signal", []) or ["SIGTERM"])[-1]
        return max([kill(name, number) for name in names], default=0)
    if verb not in VERBS:
        sys.stderr.write(f"The lab's systemctl does not know the verb {verb!r}.\n")
        return 1
    codes = [VERBS[verb](name) for name in names]
    if "--now" in options and verb in ("enable", "disable"):
        codes += [(start if verb == "enable" else stop)(name) for name in names]
    # One active unit of several is enough for these; for all others the worst counts.
    worst = min if verb in ("is-active", "is-failed", "is-enabled") else max
    return worst(codes, default=0)
