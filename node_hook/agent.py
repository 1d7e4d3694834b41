"""Whether the SSM agent is up, for without it no command reaches this node.

systemd is asked under the names that the agent's packages use; where there is no systemd, or it
knows none of them, the process table answers. "Up" means that it runs: whether it reaches AWS is
only known to whoever waits for its answer.
"""

from __future__ import annotations

import os
import subprocess

UNITS = ("amazon-ssm-agent.service", "snap.amazon-ssm-agent.amazon-ssm-agent.service")
COMMANDS = frozenset({"amazon-ssm-agen", "amazon-ssm-agent"})
"""The kernel cuts a process's name at 15 characters."""

ASK_SECONDS = 2.0
LOOK_SECONDS = 1.0
"""How often to look. Looking reads one file while the agent runs."""

HOLD_AFTER_SECONDS = 5.0
"""The agent restarts when it updates itself, in a second or two: no reason to give up mastership."""


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
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    fields = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    active = fields.get("ActiveState") in ("active", "reloading")
    return int(fields.get("MainPID") or 0) if active else 0
