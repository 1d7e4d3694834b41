"""Machines that are nothing but their state, for tests of the cloud alone."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from lab.cloud import AgentUnreachable, Delivery

Refused: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""`with refused("VolumeInUse"):` AWS answers with this code."""


class Machines:
    """Machines as states: devices, what is mounted, power, and an agent that does as it is told."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, str]] = defaultdict(dict)
        self.mounted: set[str] = set()
        self.power: list[tuple[str, str]] = []
        self.where: dict[str, str | None] = {}
        self.deliveries: list[tuple[str, Delivery]] = []
        self.agent: Callable[[str, Delivery], None] = lambda _, d: d.report("Success", 0, "{}", "")
        self.before_stop: Callable[[str], object] = lambda instance: None
        self.reachable = True
        self.lock = threading.Lock()

    def attach(self, instance: str, volume: str, device: str) -> None:
        self.devices[instance][volume] = device

    def detach(self, instance: str, volume: str, force: bool) -> bool:
        if volume in self.mounted and not force:
            return False
        self.devices[instance].pop(volume, None)
        return True

    def stop(self, instance: str, force: bool, skip_os_shutdown: bool) -> None:
        self.before_stop(instance)
        self.devices[instance].clear()
        self.power.append((instance, "pulled" if force and skip_os_shutdown else "off"))

    def start(self, instance: str) -> None:
        self.power.append((instance, "on"))

    def moved(self, address: str, interface: str | None, instance: str | None) -> None:
        self.where[address] = instance

    def deliver(self, instance: str, delivery: Delivery) -> None:
        if not self.reachable:
            raise AgentUnreachable
        self.deliveries.append((instance, delivery))
        self.agent(instance, delivery)
