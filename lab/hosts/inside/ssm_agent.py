"""A stand-in for amazon-ssm-agent: runs the real documents' shell scripts, and reports.

It talks with the lab over a socket where the real one talks with AWS; the rest is as the real one:
a command is written down before it runs and run again after a restart of the agent (at most 15
times), several run at once, ENV_VAR parameters reach the script as $SSM_<name> and never as text,
output is cut at 24,000 and 8,000 characters, and past its time a script's process group is killed.
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from typing import Any

SOCKET = "/run/lab/agent.sock"
STATE = "/var/lib/amazon/ssm"
RUNS_MOST = 15
OUT_MOST, ERR_MOST = 24_000, 8_000
TIMEOUT_SECONDS = 3600.0
TIMED_OUT_CODE = 137
SEND = threading.Lock()
LINK: list[socket.socket] = []
RUNNING: set[str] = set()


def interpolation(
    document: dict[str, Any], given: dict[str, list[str]]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Parameters to paste as text, and parameters for the environment."""
    text: dict[str, list[str]] = {}
    environment: dict[str, str] = {}
    for name, spec in document.get("parameters", {}).items():
        default = spec.get("default", [])
        value = given.get(name, default if isinstance(default, list) else [str(default)])
        if spec.get("interpolationType") == "ENV_VAR":
            environment[f"SSM_{name}"] = " ".join(value)
        else:
            text[name] = value
    return text, environment


def paste(line: str, text: dict[str, list[str]]) -> list[str]:
    """A script line with its `{{ name }}` replaced; a list alone on its line gives many lines."""
    alone = re.fullmatch(r"\s*\{\{\s*(\w+)\s*\}\}\s*", line)
    if alone and alone[1] in text:
        return text[alone[1]]
    return [
        re.sub(
            r"\{\{\s*(\w+)\s*\}\}",
            lambda found: " ".join(text[found[1]]) if found[1] in text else found[0],
            line,
        )
    ]


def step(
    inputs: dict[str, Any], document: dict[str, Any], order: dict[str, Any]
) -> tuple[str, int, str, str]:
    """Run one aws:runShellScript step: status, code, output, errors."""
    text, environment = interpolation(document, order["parameters"])
    lines = [new for line in inputs["runCommand"] for new in paste(line, text)]
    seconds = "".join(paste(str(inputs.get("timeoutSeconds", TIMEOUT_SECONDS)), text))
    directory = f"{STATE}/orchestration/{order['key']}"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/_script.sh", "w", encoding="utf-8") as script:
        script.write("\n".join(lines) + "\n")
    given = {"PATH": os.environ["PATH"], "HOME": "/root", **environment}
    given |= {key: os.environ[key] for key in ("BATON_LAB", "INVOCATION_ID") if key in os.environ}
    return script_run(directory, inputs.get("workingDirectory") or "/", given, float(seconds))


def script_run(directory: str, cwd: str, given: dict[str, str], seconds: float) -> tuple[str, int, str, str]:
    """Run the script in a process group of its own, its output in files."""
    with open(f"{directory}/stdout", "w+b") as out, open(f"{directory}/stderr", "w+b") as err:
        process = subprocess.Popen(
            ["sh", f"{directory}/_script.sh"],
            env=given,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = TIMED_OUT_CODE
        code = code if code >= 0 else 128 - code
        out.seek(0)
        err.seek(0)
        status = {0: "Success", TIMED_OUT_CODE: "TimedOut"}.get(code, "Failed")
        return (
            status,
            code,
            out.read(OUT_MOST).decode(errors="replace"),
            err.read(ERR_MOST).decode(errors="replace"),
        )


def execute(order: dict[str, Any]) -> None:
    """Run a whole document, report, and forget it."""
    document = order["document"]
    result = ("Success", 0, "", "")
    for each in document.get("mainSteps", []):
        if each["action"] != "aws:runShellScript":
            result = ("Failed", 1, "", f"This agent cannot run {each['action']}.")
        else:
            result = step(each["inputs"], document, order)
        if result[0] != "Success":
            break
    report(order["key"], result)
    os.unlink(f"{STATE}/in-progress/{order['key']}.json")


def report(key: str, result: tuple[str, int, str, str]) -> None:
    """Tell the lab how it ended; without a connection, wait until there is one."""
    while not say({"key": key, "result": result}):
        time.sleep(0.2)


def say(message: dict[str, Any]) -> bool:
    """Send one message; False without a connection."""
    with SEND:
        try:
            LINK[0].sendall(json.dumps(message).encode() + b"\n")
        except (OSError, IndexError):
            return False
    return True


def accept(order: dict[str, Any]) -> None:
    """Write a command down, then run it beside the others."""
    path = f"{STATE}/in-progress/{order['key']}.json"
    order["runs"] = order.get("runs", 0) + 1
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(order, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)
    say({"key": order["key"], "taken": True})
    threading.Thread(target=execute, args=(order,), daemon=True).start()


def again() -> None:
    """Run what was under way when the agent went down."""
    os.makedirs(f"{STATE}/in-progress", exist_ok=True)
    for name in os.listdir(f"{STATE}/in-progress"):
        with open(f"{STATE}/in-progress/{name}", encoding="utf-8") as file:
            text = file.read()
        if not name.endswith(".json") or json.loads(text).get("runs", 0) > RUNS_MOST:
            os.unlink(f"{STATE}/in-progress/{name}")
            continue
        accept(json.loads(text))


def listen() -> None:
    """Take orders until the connection ends."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(SOCKET)
    LINK[:] = [link]
    with link.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            accept(json.loads(line))


def main(_: list[str]) -> int:
    """Serve until stopped."""
    again()
    while True:
        try:
            listen()
        except OSError:
            pass
        time.sleep(0.1)
