"""AWS's end of a host's SSM agent: hands commands to it, passes its answers on.

The agent is a real process of the host: it is frozen, killed and started with it. Here are the
faults of what lies between: late, doubled and lost commands, late and lost answers.
"""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.cloud.machinery import Delivery


class Mailbox:
    """Commands to one host, and its answers.

    Faults, to be set at any time: `late_seconds` before a command is handed over,
    `answer_late_seconds` before an answer is passed on; of the next n, `twice` hands a command
    over twice, `lose_commands` and `lose_answers` drop it.
    """

    def __init__(self, path: Path) -> None:
        self.late_seconds = 0.0
        self.answer_late_seconds = 0.0
        self.twice = 0
        self.lose_commands = 0
        self.lose_answers = 0
        self._untaken: dict[str, bytes] = {}
        self._open: dict[str, Delivery] = {}
        self._lock = threading.RLock()
        self._agent: socket.socket | None = None
        self._server = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True, name=f"agent {path.parent}").start()

    @property
    def connected(self) -> bool:
        """Whether an agent is there; a hung or frozen one still is."""
        return self._agent is not None

    def put(self, delivery: Delivery) -> None:
        """Hand a command over; returns at once. Raises AgentUnreachable if no agent is there."""
        if not self.connected:
            raise _unreachable()
        if self._counted("lose_commands"):
            return
        for _ in range(2 if self._counted("twice") else 1):
            key = f"{delivery.command_id}-{uuid.uuid4().hex[:8]}"
            line = {"key": key, "document": delivery.document_content, "parameters": delivery.parameters}
            self._open[key] = delivery
            self._untaken[key] = json.dumps(line).encode() + b"\n"
            later(self.late_seconds, partial(self._send, key))

    def close(self) -> None:
        """Hand nothing over any more."""
        self._open.clear()
        with self._lock:
            for end in (self._server, self._agent):
                if end is not None:
                    # A thread that waits in accept or recv is woken by this, not by close alone.
                    _shut(end)

    def _counted(self, name: str) -> bool:
        """Use up one of the next n, if any is left."""
        with self._lock:
            left: int = getattr(self, name)
            setattr(self, name, max(0, left - 1))
            return left > 0

    def _send(self, key: str) -> None:
        with self._lock:
            line = self._untaken.get(key)
            if line is None or self._agent is None:
                return
            try:
                self._agent.sendall(line)
            except OSError:
                self._agent = None

    def _serve(self) -> None:
        while True:
            try:
                agent, _ = self._server.accept()
            except OSError:
                return
            # A frozen host must not block the lab: what does not fit is handed over again.
            agent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            threading.Thread(target=self._listen, args=(agent,), daemon=True).start()

    def _listen(self, agent: socket.socket) -> None:
        with self._lock:
            self._agent = agent
            # What an agent before did not take is handed to this one.
            for key in list(self._untaken):
                self._send(key)
        try:
            with agent.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    self._heard(json.loads(line))
        except OSError:
            pass
        with self._lock:
            if self._agent is agent:
                self._agent = None
        agent.close()

    def _heard(self, message: dict[str, object]) -> None:
        key = str(message["key"])
        result = message.get("result")
        delivery = self._open.get(key)
        self._untaken.pop(key, None)
        if delivery is None:
            return
        if not isinstance(result, list):
            delivery.report("InProgress", -1, "", "")
            return
        if not self._counted("lose_answers"):
            later(self.answer_late_seconds, lambda: delivery.report(*result))


def _unreachable() -> Exception:
    # Imported when needed: with the seam comes the whole embedded AWS, and hosts run without it.
    from lab.cloud.machinery import AgentUnreachable

    return AgentUnreachable("the host's agent is down")


def later(seconds: float, act: Callable[[], None]) -> None:
    """Do it now, or in so many seconds."""
    if seconds <= 0:
        act()
        return
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
