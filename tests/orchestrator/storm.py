"""Twenty clusters of one account, and the app that looks after them all."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from chalicelib.model import Record
from lab.cloud import Cloud
from lab.cloud.building import Net
from tests.orchestrator.nodes import Host, Hosts
from tests.orchestrator.orders import STAGE, Context, envelope, fresh_app, variables

_addresses = itertools.count(20)
SWEEP_SECONDS = 25.0
"""What Lambda gives to a sweep. Who waits for a person uses it up."""


@dataclass(frozen=True)
class One:
    """A cluster of two nodes, a volume and an address."""

    name: str
    a: Host
    b: Host
    volume: str
    address: str

    def document(self) -> dict[str, Any]:
        """Its definition."""
        return {
            "version": 1,
            "name": self.name,
            "nodes": [{"id": self.a.id}, {"id": self.b.id}],
            "volumes": [{"id": self.volume, "mount": f"/srv/{self.name}", "filesystem": "ext4"}],
            "addresses": [{"address": self.address, "interface": "eth0", "prefix": 24}],
        }

    def is_served_by(self, host: Host, cloud: Cloud, record: Record) -> bool:
        """Whether this node, and it alone, has everything of the cluster; by its own word as well."""
        attachment = cloud.attachment(self.volume)
        mounted = {h.id for h in (self.a, self.b) if self.volume in h.mounted}
        held = (cloud.holder(self.address), attachment[0] if attachment else None, mounted)
        return held == (host.id, host.id, {host.id}) and record.settled and record.owner == host.id


@dataclass
class Storm:
    """All of them, in one AWS."""

    cloud: Cloud
    app: ModuleType
    hosts: Hosts
    clusters: list[One]

    def word(self, host: Host, state: str) -> None:
        """A node's word arrives while no function has time to do more than to write it down."""
        host.state = state
        source = self.cloud.source(host.id, STAGE)
        self.app.on_word(envelope(self.cloud, source, "Baton Word", host.word()), Context(0.0))

    def sweep(self) -> None:
        """The minute is over."""
        self.app.sweep(envelope(self.cloud, "aws.events", "Scheduled Event", {}), Context(SWEEP_SECONDS))

    def sweep_until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Sweeps go on until it is so."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                served = [name for name, _ in self.served()]
                odd = next((one for one in self.clusters if one.name not in served), self.clusters[0])
                raise TimeoutError(f"{len(served)} are served; {self.record(odd)}")
            self.sweep()

    def record(self, one: One) -> Any:
        """A cluster's record as it is stored."""
        return self.app.house().store.load(one.name)

    def is_served_by(self, one: One, host: Host) -> bool:
        """Whether this node alone has everything of the cluster."""
        return one.is_served_by(host, self.cloud, self.record(one))

    def served(self) -> list[tuple[str, str]]:
        """Clusters and nodes: who serves what."""
        return [
            (one.name, h.id) for one in self.clusters for h in (one.a, one.b) if self.is_served_by(one, h)
        ]


@contextmanager
def storm(cloud: Cloud, net: Net, table: str, size: int) -> Iterator[Storm]:
    """So many clusters, defined and at rest: nobody has said anything."""
    hosts = Hosts()
    cloud.use(hosts)
    nodes = [cloud.launch(net, wait=False).id for _ in range(2 * size)]
    clusters = [_cluster(cloud, hosts, f"storm-{n}", nodes[2 * n : 2 * n + 2]) for n in range(size)]
    cloud.until(lambda: all(cloud.state(node) == "running" for node in nodes))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(cloud, table).items():
            patch.setenv(name, value)
        yield Storm(cloud, fresh_app(), hosts, clusters)
    for one in clusters:
        cloud.client("ssm").delete_parameter(Name=_parameter(one.name))
    cloud.client("ec2").terminate_instances(InstanceIds=nodes)
    cloud.until(lambda: all(cloud.state(node) == "terminated" for node in nodes))


def _cluster(cloud: Cloud, hosts: Hosts, name: str, nodes: list[str]) -> One:
    a, b = (hosts.add(Host(node, cluster=name)) for node in nodes)
    b.priority = 253
    one = One(name, a, b, cloud.volume(), f"10.9.1.{next(_addresses)}")
    text = json.dumps(one.document())
    cloud.client("ssm").put_parameter(Name=_parameter(name), Value=text, Type="String")
    return one


def _parameter(cluster: str) -> str:
    return f"/baton/{STAGE}/clusters/{cluster}"
