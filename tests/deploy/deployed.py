"""The whole of Baton deployed to the embedded AWS as `./baton deploy` does it, and one cluster.

The nodes are state machines that decide by the node script's rules; the functions are the real
zip in Lambda's own runtime; what they may call is what their deployed roles say.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chalicelib.announced import SPOT_TYPE
from chalicelib.store import Store
from infra.account import Account, connect
from infra.functions import CHECKOUT, Functions
from infra.names import Names
from infra.stack import SupportStack
from infra.steps import walk
from infra.wiring import Wiring
from lab.cloud import Cloud, Latencies
from lab.cloud.building import Node
from tests.orchestrator.nodes import Host, Hosts

STAGE = "proof"
ADDRESS = "10.9.0.100"
SETTLE_SECONDS = 150.0
SWEEP_SECONDS = 6.0
"""What the lab's minute lasts: nobody waits for real ones."""
HEARTBEAT_SECONDS = 2.0


@dataclass
class Deployed:
    """A stage with one cluster `orders` of the nodes a and b."""

    cloud: Cloud
    account: Account
    hosts: Hosts
    a: Host
    b: Host
    nodes: dict[str, Node]
    volume: str
    store: Store

    @property
    def names(self) -> Names:
        """The stage's names."""
        return Names(STAGE)

    def say(self, host: Host, state: str | None = None, kind: str = "transition") -> None:
        """A node publishes a word, with its own credentials."""
        host.state = state or host.state
        entry = {
            "Source": self.cloud.source(host.id, STAGE),
            "DetailType": "Baton Word",
            "Detail": json.dumps(host.word(kind)),
        }
        client = self.cloud.client("events", self.cloud.credentials(host.id))
        answer = client.put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer

    def warn(self, host: Host) -> None:
        """EC2 says that it is about to interrupt this Spot instance."""
        arn = f"arn:aws:ec2:{self.account.region}:{self.account.id}:instance/{host.id}"
        detail = {"instance-id": host.id, "instance-action": "terminate"}
        self.cloud.bus.native("aws.ec2", SPOT_TYPE, detail, [arn])

    @property
    def record(self) -> Any:
        """The cluster's record as it is stored."""
        return self.store.load("orders")

    def served_by(self, host: Host) -> bool:
        """Settled, and this node alone has address and volume."""
        attachment = self.cloud.attachment(self.volume)
        mounted = {h.id for h in (self.a, self.b) if self.volume in h.mounted}
        held = (self.cloud.holder(ADDRESS), attachment[0] if attachment else None, mounted)
        return bool(self.record.settled) and held == (host.id, host.id, {host.id})

    def until(self, holds: Callable[[], bool], *, hearing: Host | None = None) -> None:
        """Wait for it, with heartbeats of a node; what the functions printed explains a failure."""
        said_at = time.monotonic()

        def held() -> bool:
            nonlocal said_at
            if hearing and time.monotonic() - said_at > HEARTBEAT_SECONDS:
                self.say(hearing, kind="heartbeat")
                said_at = time.monotonic()
            return holds()

        try:
            self.cloud.until(held, SETTLE_SECONDS)
        except TimeoutError as late:
            log = "\n".join([*self.cloud.lambda_log][-30:])
            raise AssertionError(f"{late}\n{self.record}\n{log}") from late


def tags(stage: str = STAGE) -> dict[str, str]:
    """What Baton may touch."""
    return {"baton:stage": stage, "baton:cluster": "orders"}


@contextmanager
def deployed(state: Path) -> Iterator[Deployed]:
    """Deploy, define, and have the cluster at rest: nobody has said anything."""
    hosts = Hosts()
    latencies = dataclasses.replace(Latencies.fast(), minute=SWEEP_SECONDS)
    with Cloud.start(latencies=latencies, machinery=hosts) as cloud, environment(cloud):
        account = connect()
        deploy(account, state)
        net = cloud.network("10.9.0.0/16", "10.9.0.0/24")
        nodes = {n: _launch(cloud, net, n) for n in ("a", "b")}
        a, b = (hosts.add(Host(nodes[n].id)) for n in ("a", "b"))
        b.priority = 253
        volume = cloud.volume(tags=tags())
        define(account, [a.id, b.id], volume)
        store = Store(cloud.client("dynamodb"), Names(STAGE).table)
        yield Deployed(cloud, account, hosts, a, b, nodes, volume, store)


@contextmanager
def environment(cloud: Cloud) -> Iterator[None]:
    """What the SDK and Chalice read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in cloud.environment().items():
            patch.setenv(name, value)
        yield


def deploy(account: Account, state: Path) -> list[str]:
    """What `./baton deploy` does with this checkout; what it said."""
    names = Names(STAGE)
    stack = SupportStack(account, names, poll_seconds=0.05)
    functions = Functions(account, names, stack.outputs, CHECKOUT, state)
    said: list[str] = []
    walk([stack, functions, Wiring(account, names, stack.outputs)], said.append)
    return said


def redeploy(account: Account, state: Path) -> None:
    """Put the functions, their rules and the wiring anew, as a deployment of other code does."""
    names = Names(STAGE)
    stack = SupportStack(account, names, poll_seconds=0.05)
    functions = Functions(account, names, stack.outputs, CHECKOUT, state)
    functions.prepare()
    functions.carry_out(print)
    Wiring(account, names, stack.outputs).carry_out(print)


def _launch(cloud: Cloud, net: Any, name: str) -> Node:
    node = cloud.launch(net, name, profile=Names(STAGE).node_role, tags=tags())
    pairs = [{"Key": key, "Value": value} for key, value in tags().items()]
    cloud.client("ec2").create_tags(Resources=[node.interface], Tags=pairs)
    return node


def define(account: Account, nodes: list[str], volume: str, **changes: Any) -> None:
    """Put the cluster's definition into force."""
    document = {
        "version": 1,
        "name": "orders",
        "nodes": [{"id": node} for node in nodes],
        "volumes": [{"id": volume, "mount": "/srv/orders", "filesystem": "ext4"}],
        "addresses": [{"address": ADDRESS, "interface": "eth0", "prefix": 24}],
        **changes,
    }
    account.client("ssm").put_parameter(
        Name=Names(STAGE).definition("orders"),
        Value=json.dumps(document),
        Type="String",
        Overwrite=True,
    )
