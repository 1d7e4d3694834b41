"""Whether the SSM agent is up, for without it no command reaches this node.

systemd is asked under the names that the agent's packages use; where there is no systemd, or it
knows none of them, the process table answers. "Up" means that it runs: whether it reaches AWS is
only known to whoever waits for its answer.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from queue import SimpleQueue

from node_hook import events, hold, word
from node_hook.config import Config
from node_hook.events import Event

UNITS = ("amazon-ssm-agent.service", "snap.amazon-ssm-agent.amazon-ssm-agent.service")
COMMANDS = frozenset({"amazon-ssm-agen", "amazon-ssm-agent"})
"""The kernel cuts a process's name at 15 characters."""

ASK_SECONDS = 2.0
LOOK_SECONDS = 1.0
"""How often to look. Looking reads one file while the agent runs."""

HOLD_AFTER_SECONDS = 5.0
"""The agent restarts when it updates itself, in a second or two: no reason to give up mastership."""

log = logging.getLogger("baton")


class AgentWatch:
    """Looks at the agent in a thread of its own, for systemctl may hang; says what changes.

    And it keeps the hold: a node that serves nothing and cannot be commanded could not take over,
    so it is held in FAULT for as long as that lasts.
    """

    def __init__(self, config: Config, heard: "SimpleQueue[Event]") -> None:
        self._config = config
        self._heard = heard
        self._agent = Agent(config.paths.proc)
        self.up = self._agent.is_up()
        """As the main loop last heard."""
        self._since = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def _run(self) -> None:
        said = self.up
        while True:
            up = self._agent.is_up()
            if up != said:
                said, self._since = up, time.monotonic()
                self._heard.put(events.Agent(up))
            try:
                self._hold(up)
            except OSError as error:
                log.error("%s cannot be written: %s", self._config.paths.hold, error)
            time.sleep(LOOK_SECONDS)

    def _hold(self, up: bool) -> None:
        path = self._config.paths.hold
        if up:
            hold.clear(path, "agent")
        elif time.monotonic() - self._since > HOLD_AFTER_SECONDS:
            if word.around(self._config, False).serving is not None:
                return
            text = "the SSM agent is down, so this node could not take over"
            if hold.put(path, "agent", text):
                log.warning("keepalived is held in FAULT: %s", text)


class Agent:
    """Watches the agent; remembers its process so that looking again costs next to nothing."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._pid = 0

    def is_up(self) -> bool:
        """Whether it runs now."""
        if self._pid and self._lives(self._pid):
            return True
        asked = (_main_pid(unit) for unit in UNITS)
        self._pid = next((pid for pid in asked if pid and self._lives(pid)), 0) or self._search()
        return self._pid != 0

    def _lives(self, pid: int) -> bool:
        try:
            with open(f"{self._proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
        except (OSError, IndexError):
            return False

    def _search(self) -> int:
        for name in os.listdir(self._proc):
            if not name.isdigit():
                continue
            try:
                with open(f"{self._proc}/{name}/comm", encoding="utf-8", errors="replace") as file:
                    found = file.read().strip()
            except OSError:
                continue
            if found in COMMANDS and self._lives(int(name)) and self._is_ours(name):
                return int(name)
        return 0

    def _is_ours(self, name: str) -> bool:
        """Not one in a container, which commands the container."""
        try:
            theirs = os.readlink(f"{self._proc}/{name}/ns/net")
            return theirs == os.readlink(f"{self._proc}/self/ns/net")
        except OSError:
            return False


def _main_pid(unit: str) -> int:
    """The unit's process as systemd knows it, 0 if it is not active."""
    command = ["systemctl", "show", "--property=ActiveState", "--property=MainPID", unit]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    fields = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    active = fields.get("ActiveState") in ("active", "reloading")
    return int(fields.get("MainPID") or 0) if active else 0
