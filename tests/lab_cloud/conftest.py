"""One embedded AWS per module, fast, over machines that are nothing but their state."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from botocore.exceptions import ClientError

from lab.cloud import AgentUnreachable, Cloud, Delivery, Latencies
from lab.cloud.building import Net


class Machines:
    """Machines as states: devices, what is mounted, power, and an agent that does as it is told."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, str]] = defaultdict(dict)
        self.mounted: set[str] = set()
        self.power: list[tuple[str, str]] = []
        self.where: dict[str, str | None] = {}
        self.deliveries: list[tuple[str, Delivery]] = []
        self.agent: Callable[[str, Delivery], None] = lambda _, d: d.report("Success", 0, "{}", "")
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


@pytest.fixture(scope="module")
def shared_cloud() -> Iterator[Cloud]:
    with Cloud.start(latencies=Latencies.fast()) as cloud:
        yield cloud


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def cloud(shared_cloud: Cloud, machines: Machines) -> Iterator[Cloud]:
    """The module's cloud with machines of the test's own; nothing went wrong inside it."""
    shared_cloud.use(machines)
    yield shared_cloud
    shared_cloud.faults.clear()
    shared_cloud.bus.clear()
    problems = list(shared_cloud.problems)
    shared_cloud.problems.clear()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def net(shared_cloud: Cloud) -> Net:
    return shared_cloud.network("10.9.0.0/16", "10.9.0.0/24")


@contextmanager
def _refused(code: str) -> Iterator[None]:
    with pytest.raises(ClientError) as raised:
        yield
    assert raised.value.response["Error"]["Code"] == code, raised.value


@pytest.fixture
def refused() -> Callable[[str], AbstractContextManager[None]]:
    """`with refused("VolumeInUse"):` AWS answers with this code."""
    return _refused
