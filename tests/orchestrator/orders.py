"""A cluster of two nodes with an app that looks after it, in the lab's AWS."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from lab.cloud import Cloud
from lab.cloud.building import Net
from tests.orchestrator.nodes import DOCUMENT, Host, Hosts

STAGE = "unit"
_addresses = itertools.count(1)
MUTATIONS = ("Attach", "Detach", "Assign", "Stop", "Start", "SendCommand")


class Context:
    """What Lambda hands to a handler."""

    function_name = "baton-unit-on_word"
    memory_limit_in_mb = 512
    aws_request_id = "request"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:baton-unit-on_word"

    def __init__(self, seconds: float = 40.0) -> None:
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would kill it."""
        return int((self._until - time.monotonic()) * 1000)


def envelope(cloud: Cloud, source: str, kind: str, detail: dict[str, Any]) -> dict[str, Any]:
    """An event of this account as EventBridge sends it."""
    return {
        "version": "0",
        "id": "3f2c",
        "account": cloud.account,
        "region": cloud.region,
        "time": "2026-01-01T00:00:00Z",
        "resources": [],
        "source": source,
        "detail-type": kind,
        "detail": detail,
    }


@dataclass
class Orders:
    """A cluster of two nodes, a volume and an address, and the app that looks after it."""

    cloud: Cloud
    app: ModuleType
    hosts: Hosts
    a: Host
    b: Host
    volume: str
    address: str

    def say(self, host: Host, kind: str = "transition", **changes: Any) -> dict[str, Any]:
        """The event of a word that the node says now."""
        return self.event(host, {**host.word(kind), **changes})

    def event(self, host: Host, detail: dict[str, Any]) -> dict[str, Any]:
        """The event that EventBridge makes of a detail."""
        return self.envelope(self.cloud.source(host.id, STAGE), "Baton Word", detail)

    def envelope(self, source: str, kind: str, detail: dict[str, Any]) -> dict[str, Any]:
        """An event as EventBridge sends it."""
        return envelope(self.cloud, source, kind, detail)

    def hear(self, event: dict[str, Any], seconds: float = 40.0) -> None:
        """The Lambda function is invoked with the event."""
        self.app.on_word(event, Context(seconds))

    def become(self, host: Host, state: str) -> None:
        """A node's keepalived changes, and its word arrives."""
        host.state = state
        self.hear(self.say(host))

    def sweep(self) -> None:
        """The minute is over."""
        self.app.sweep(self.envelope("aws.events", "Scheduled Event", {}), Context())

    @property
    def record(self) -> Any:
        """The record as it is stored."""
        return self.app.house().store.load("orders")

    def holders(self) -> tuple[str | None, str | None, set[str]]:
        """Who has the address and the volume by EC2's records, and who has it mounted."""
        attachment = self.cloud.attachment(self.volume)
        mounted = {host.id for host in (self.a, self.b) if self.volume in host.mounted}
        return self.cloud.holder(self.address), attachment[0] if attachment else None, mounted

    def mutations(self) -> list[str]:
        """What was asked of EC2 and SSM so far."""
        asked = [call.operation for call in self.cloud.calls]
        return [name for name in asked if name.startswith(MUTATIONS)]

    def asked_of_ec2(self) -> list[str]:
        """Every call of EC2's so far."""
        return [call.operation for call in self.cloud.calls if call.service == "ec2"]

    def until_settled(self, seconds: float = 40.0) -> None:
        """Sweeps go on until the cluster is settled."""
        end = time.monotonic() + seconds
        while not self.record.settled or self.record.lease:
            if time.monotonic() > end:
                raise TimeoutError(f"not settled: {self.record}")
            self.sweep()
            time.sleep(0.1)

    def is_served_by(self, host: Host) -> bool:
        """Whether this node, and it alone, holds everything."""
        return self.holders() == (host.id, host.id, {host.id})


def fresh_app() -> ModuleType:
    """The app as a new Lambda process has it: no client, no cache of an earlier test."""
    import app
    from chalicelib import clients, house

    clients.client.cache_clear()
    house.house.cache_clear()
    return app


def define(cloud: Cloud, nodes: list[str], volumes: list[str], address: str, **changes: Any) -> None:
    """Write the cluster's definition."""
    document = {
        "version": 1,
        "name": "orders",
        "nodes": [{"id": node} for node in nodes],
        "volumes": [{"id": volume, "mount": f"/srv/{volume}", "filesystem": "ext4"} for volume in volumes],
        "addresses": [{"address": address, "interface": "eth0", "prefix": 24}],
        **changes,
    }
    cloud.client("ssm").put_parameter(
        Name=f"/baton/{STAGE}/clusters/orders",
        Value=json.dumps(document),
        Type="String",
        Overwrite=True,
    )


def prepare(cloud: Cloud) -> Net:
    """What all clusters of a module share: network, document, table of the door-keeper."""
    cloud.client("ssm").create_document(
        Name=f"baton-{STAGE}-orchestrator", Content=json.dumps(DOCUMENT), DocumentType="Command"
    )
    cloud.client("dynamodb").create_table(
        TableName=f"baton-{STAGE}-idempotency",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return cloud.network("10.9.0.0/16", "10.9.0.0/23")


@contextmanager
def cluster(cloud: Cloud, net: Net, table: str) -> Iterator[Orders]:
    """The cluster, defined and at rest: nobody has said anything."""
    hosts = Hosts()
    cloud.use(hosts)
    nodes = [cloud.launch(net, name, wait=False) for name in ("a", "b")]
    a, b = (hosts.add(Host(node.id)) for node in nodes)
    b.priority = 253
    cloud.until(lambda: all(cloud.state(node.id) == "running" for node in nodes))
    volume = cloud.volume()
    address = f"10.9.1.{next(_addresses)}"
    define(cloud, [a.id, b.id], [volume], address)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(cloud, table).items():
            patch.setenv(name, value)
        yield Orders(cloud, fresh_app(), hosts, a, b, volume, address)
    cloud.client("ec2").terminate_instances(InstanceIds=[a.id, b.id])
    cloud.until(lambda: all(cloud.state(node.id) == "terminated" for node in nodes))


def variables(cloud: Cloud, table: str) -> dict[str, str]:
    """The environment of the functions."""
    return {
        **cloud.environment(),
        "BATON_STAGE": STAGE,
        "BATON_TABLE": table,
        "BATON_IDEMPOTENCY_TABLE": f"baton-{STAGE}-idempotency",
        "BATON_NODE_ROLE_IDS": f"AROAOTHER,{cloud.node_role('baton-lab-node')}",
        "BATON_ACCOUNT": cloud.account,
        "POWERTOOLS_SERVICE_NAME": f"baton-{STAGE}",
        "POWERTOOLS_METRICS_NAMESPACE": "Baton",
    }
