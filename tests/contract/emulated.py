"""The lab's AWS: an emulator that refuses as EC2 does, reached through Baton's real ports."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import boto3
from botocore.config import Config

from chalicelib import timing
from chalicelib.aws import Cloud as Ec2AndSsm
from chalicelib.aws_observe import Observer
from chalicelib.model import Action, Attach, Cluster, Detach, Fence, Move, Observation, Record, Start, Word
from chalicelib.store import Store
from chalicelib.together import Together
from lab.cloud import Cloud, Delivery
from lab.cloud.building import Net, Node
from lab.cloud.run_command import TERMINAL
from tests.contract.ports import Told
from tests.contract.reading import Tape, watched
from tests.orchestrator.nodes import DOCUMENT, Host, Hosts
from tests.tables import make_table

STAGE = "contract"
SETTLE_SECONDS = 20.0
_numbers = itertools.count(100)

OPERATIONS = {
    Attach: "AttachVolume",
    Detach: "DetachVolume",
    Move: "AssignPrivateIpAddresses",
    Fence: "StopInstances",
    Start: "StartInstances",
}


class Machines(Hosts):
    """Hosts whose agents keep what they are sent until they are told to run it."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: dict[str, tuple[str, Delivery]] = {}

    def deliver(self, instance: str, delivery: Delivery) -> None:
        self.mail[delivery.command_id] = (instance, delivery)

    def run(self, id: str) -> None:
        """The agent executes a command and reports."""
        super().deliver(*self.mail.pop(id))


class Ground:
    """What all tests of a module share: one emulator with one network, its machines and a table."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.machines = Machines()
        self.tape = Tape()
        self.table = f"baton-{STAGE}"
        self.spare: list[list[Node]] = []
        """Nodes that a test left as it found them."""
        self.net: Net = cloud.network("10.9.0.0/16", "10.9.0.0/24")
        cloud.use(self.machines)
        self.ec2, self.ssm, self.dynamodb = (
            watched(self.client(name), self.tape) for name in ("ec2", "ssm", "dynamodb")
        )
        cloud.client("ssm").create_document(
            Name=f"baton-{STAGE}-orchestrator", Content=json.dumps(DOCUMENT), DocumentType="Command"
        )
        make_table(cloud.client("dynamodb"), self.table)

    def client(self, service: str) -> Any:
        """A client of Baton's own; what the lab itself asks for is none of the tape's business."""
        keys = self.cloud.environment()
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.cloud.endpoint,
            region_name=self.cloud.region,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys["AWS_SESSION_TOKEN"],
            config=config,
        )


class Emulated:
    """Implements `Aws`."""

    def __init__(self, ground: Ground) -> None:
        self._ground, self._cloud = ground, ground.cloud
        number = next(_numbers)
        nodes = ground.spare.pop() if ground.spare else self._launch()
        self._nodes = nodes
        self._interfaces = {node.id: node.interface for node in nodes}
        self._volumes = tuple(self._cloud.volume() for _ in range(2))
        name = f"c{number}"
        addresses = (f"10.9.0.{number}",)
        self.cluster = Cluster(name, tuple(self._interfaces), self._volumes, addresses)
        for node in self._interfaces:
            ground.machines.add(Host(node, cluster=name))
        self.now = time.time()
        self._stored: Record | None = None
        self._sent: list[str] = []
        self._ours = Ec2AndSsm(ground.ec2, ground.ssm, STAGE)
        self._observer = Observer(self._ours)
        self._store = Store(ground.dynamodb, ground.table)
        self._cloud.until(self._is_settled, SETTLE_SECONDS)
        self._hold()

    def _launch(self) -> list[Node]:
        return [self._cloud.launch(self._ground.net, name, wait=False) for name in ("a", "b")]

    def leave(self) -> None:
        """Leave the nodes to the next test if they are as they were."""
        is_free = all(self._cloud.attachment(volume) is None for volume in self._volumes)
        if is_free and all(self._cloud.state(node) == "running" for node in self._interfaces):
            self._ground.spare.append(self._nodes)

    def interface(self, node: str) -> str:
        return self._interfaces[node]

    def boot(self, node: str) -> str:
        return self._ground.machines.hosts[node].boot

    # ------------------------------------------------------------------------- EC2 and SSM

    def do(self, action: Action, fate: str = "") -> tuple[Told, str | None]:
        operation = OPERATIONS.get(type(action), "SendCommand")
        if fate == "throttled":
            self._cloud.faults.throttle(operation)
        elif fate:
            # Both come with HTTP 5xx, after which AWS has been seen to have done what was asked.
            code = "InternalServerError" if operation == "SendCommand" else "Unavailable"
            self._cloud.faults.fail(operation, code, applied=fate == "unknown")
        result = self._ours.perform(self.cluster, action)
        if result.id:
            self._sent.append(result.id)
        return Told(result.outcome, result.code), result.id

    def see(self, record: Record | None = None) -> Observation:
        of = {self.cluster.name: (self.cluster, record or Record(self.cluster.name))}
        with Together() as together:
            return self._observer.observe(of, self.now, together)[self.cluster.name]

    def settle(self) -> None:
        for what, name in self._slow():
            self._cloud.faults.unstick(what, name)
        self._cloud.until(self._is_settled, SETTLE_SECONDS)
        self._hold()

    def _hold(self) -> None:
        for what, name in self._slow():
            self._cloud.faults.stick(what, name)

    def _slow(self) -> list[tuple[str, str]]:
        volumes = [(what, name) for what in ("attach", "detach") for name in self._volumes]
        return volumes + [(what, name) for what in ("stop", "start") for name in self._interfaces]

    def _is_settled(self) -> bool:
        at_rest = ("running", "stopped")
        return all(self._cloud.state(node) in at_rest for node in self._interfaces) and all(
            self._rests(volume) for volume in self._volumes
        )

    def _rests(self, volume: str) -> bool:
        there = self._cloud.attachment(volume)
        if there is None or there[2] == "attached":
            return True
        return there[2] == "busy" and volume in self._ground.machines.hosts[there[0]].mounted

    def mount(self, node: str) -> None:
        there = {v for v in self._volumes if (self._cloud.attachment(v) or ("",))[0] == node}
        self._ground.machines.hosts[node].mounted |= there

    def unmount(self, node: str) -> None:
        self._ground.machines.hosts[node].mounted.clear()

    def run_commands(self) -> None:
        going = [id for id in self._sent if self._node_of(id).on]
        self._cloud.until(lambda: all(id in self._ground.machines.mail for id in going), SETTLE_SECONDS)
        for id in going:
            self._ground.machines.run(id)
            self._sent.remove(id)
        self._cloud.until(lambda: all(self._is_over(id) for id in going), SETTLE_SECONDS)

    def lose_commands(self) -> None:
        """A lost reply reads as a time-out, although the agent had the command."""
        self._cloud.until(lambda: all(id in self._ground.machines.mail for id in self._sent), SETTLE_SECONDS)
        for id in self._sent:
            _, delivery = self._ground.machines.mail.pop(id)
            delivery.report("TimedOut", -1, "", "")
        self._cloud.until(lambda: all(self._is_over(id) for id in self._sent), SETTLE_SECONDS)
        self._sent.clear()

    def _node_of(self, id: str) -> Host:
        (sent,) = self._cloud.commands._all[id]
        return self._ground.machines.hosts[sent.instance]

    def _is_over(self, id: str) -> bool:
        seen = self._cloud.commands.invocations(id)
        return bool(seen) and seen[0].status in TERMINAL

    # ------------------------------------------------------------------------------ record

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def load(self) -> Record:
        self._stored = self._store.load(self.cluster.name)
        return self._stored

    def accept(self, word: Word) -> bool:
        return self._store.accept(self.cluster.name, word)

    def take(self, holder: str) -> Record | None:
        until = self.now + timing.LEASE_SECONDS
        return self._store.take(self.load(), holder, self.now, until)

    def persist(self, record: Record) -> Record | None:
        return self._store.persist(record, self._stored, self.now)

    def give_up(self, record: Record) -> bool:
        return self._store.give_up(record)
