"""Nodes that are nothing but their state, deciding by the node script's own rules."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.cloud import AgentUnreachable, Delivery
from node_hook import duty

DOCUMENT: dict[str, Any] = {
    "schemaVersion": "2.2",
    "parameters": {
        name: {"type": "String", "default": ""}
        for name in ("action", "cluster", "epoch", "boot", "volumes", "deadline", "unlessMaster", "ready")
    },
    "mainSteps": [{"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}],
}


@dataclass
class Host:
    """One node: its memory, what keepalived says, what is mounted."""

    id: str
    state: str = "BACKUP"
    boot: str = "boot-1"
    sequence: int = 0
    priority: int = 254
    cluster: str = "orders"
    memory: duty.Memory = field(default_factory=duty.Memory)
    mounted: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    on: bool = True
    agent: bool = True

    def word(self, kind: str = "transition") -> dict[str, Any]:
        """What it says of itself now, in its one sequence."""
        self.sequence = max(self.sequence + 1, int(time.time() * 1000))
        return {
            "version": 1,
            "cluster": self.cluster,
            "sequence": self.sequence,
            "state": self.state,
            "priority": self.priority,
            "boot": self.boot,
            "highest": self.memory.highest,
            "released": self.memory.released,
            "serving": self.memory.serving if self.mounted else None,
            "agent": self.agent,
            "kind": kind,
            "config": "0" * 64,
        }


class Hosts:
    """All of them, as the embedded AWS sees machines. Records who was seen mounted with whom."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.power: list[tuple[str, str]] = []
        self.double: list[str] = []
        self.lock = threading.RLock()
        self.script: Callable[[dict[str, str]], tuple[str, str]] | None = None
        """In place of the node script: status and output for the parameters given."""

    def add(self, host: Host) -> Host:
        """One more."""
        self.hosts[host.id] = host
        return host

    def attach(self, instance: str, volume: str, device: str) -> None:
        with self.lock:
            self.hosts[instance].devices.add(volume)

    def detach(self, instance: str, volume: str, force: bool) -> bool:
        with self.lock:
            host = self.hosts[instance]
            if volume in host.mounted and not force:
                return False
            host.mounted.discard(volume)
            host.devices.discard(volume)
            return True

    def stop(self, instance: str, force: bool, skip_os_shutdown: bool) -> None:
        with self.lock:
            host = self.hosts[instance]
            host.on = False
            host.mounted.clear()
            self.power.append((instance, "pulled" if force and skip_os_shutdown else "off"))

    def start(self, instance: str) -> None:
        with self.lock:
            host = self.hosts[instance]
            host.on, host.agent, host.state = True, True, "BACKUP"
            host.boot += "-again"
            self.power.append((instance, "on"))

    def moved(self, address: str, interface: str | None, instance: str | None) -> None:
        """No packet flows here."""

    def deliver(self, instance: str, delivery: Delivery) -> None:
        host = self.hosts[instance]
        if not (host.on and host.agent):
            raise AgentUnreachable
        threading.Thread(target=self._run, args=(host, delivery), daemon=True).start()

    def _run(self, host: Host, delivery: Delivery) -> None:
        given = {name: values[0] for name, values in delivery.parameters.items()}
        if self.script is not None:
            status, output = self.script(given)
            delivery.report(status, 0 if status == "Success" else -1, output, "")
            return
        order = duty.Order(
            verb=given["action"],
            epoch=int(given["epoch"]),
            boot=given["boot"],
            deadline=float(given["deadline"]),
            unless_master=given["unlessMaster"] == "true",
        )
        volumes = {volume for volume in given["volumes"].split(",") if volume}
        if order.verb == "acquire":
            end = time.monotonic() + 5
            while not volumes <= host.devices and time.monotonic() < end:
                time.sleep(0.02)
        with self.lock:
            said = self._execute(host, order, volumes)
        meant = {"version": 1, "cluster": given["cluster"], "action": order.verb}
        line = json.dumps({**meant, "epoch": order.epoch, **said, "word": host.word("answer")})
        delivery.report("Success", 0, f"progress\n{line}\n", "")

    def _hand_over(self, host: Host) -> dict[str, Any]:
        """Its track file makes keepalived give up mastership; the real script waits for the peer."""
        if host.state != "MASTER":
            return {"result": "refused", "code": ""}
        host.state = "FAULT"
        return {"result": "released", "code": ""}

    def _execute(self, host: Host, order: duty.Order, volumes: set[str]) -> dict[str, Any]:
        if order.verb == "status":
            return {"result": "status", "code": ""}
        verdict = duty.judge(
            order, host.memory, boot=host.boot, now=time.time(), master=host.state == "MASTER"
        )
        if isinstance(verdict, duty.Refusal):
            return {"result": verdict.result, "code": verdict.code, "text": verdict.text}
        if order.verb == "handover":
            return self._hand_over(host)
        host.memory = verdict.memory
        if order.verb == "release":
            host.mounted.clear()
            host.memory = duty.after_release(order, host.memory)
            return {"result": "released", "code": ""}
        if not volumes <= host.devices:
            return {"result": "failed", "code": "no-device", "text": "no device"}
        others = [h.id for h in self.hosts.values() if h is not host and h.mounted & volumes]
        self.double += others
        host.mounted |= volumes
        host.memory = duty.after_acquire(order, host.memory)
        return {"result": "acquired", "code": ""}
