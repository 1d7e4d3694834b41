"""The lab while scenarios play: what they may do to it, wait for, and see.

Every wait has a deadline, and an error that says what was awaited and what was seen instead.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.cloud import Cloud
from lab.demo import plan, verdicts
from lab.demo.evidence import Ec2, Evidence, Look, Write, writes_from
from lab.demo.trouble import NoFault, NotSeen
from lab.demo.witness import Witness
from lab.hosts import bounded
from lab.hosts.host import Host
from lab.hosts.hosts import Hosts

SETTLE_SECONDS = 60.0
"""L1's bound: after the last fault, the cluster is settled within this."""
MOVES_MOST = 4
"""The highest priority wins each election, so two moves are enough on a quiet machine."""
STEADY_SECONDS = 0.4
"""Settled for so long, not between two steps."""
SERVED_SECONDS = 1.0
TAIL_BYTES = 65536
"""Of the client's log, which is several seconds of it."""
CLIENT_LOG = "/var/log/lab/client"


class Lab:
    """Three nodes and a client, the deployed app, and a witness."""

    def __init__(
        self, cloud: Cloud, hosts: Hosts, witness: Witness, nodes: dict[str, str], volumes: tuple[str, ...]
    ) -> None:
        self.cloud = cloud
        self.hosts = hosts
        self.witness = witness
        self.nodes = nodes
        """Instance ids by short name."""
        self.volumes = volumes
        self.settle_seconds = SETTLE_SECONDS
        self.started_at = time.monotonic()
        self._client: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Stop looking. The hosts are closed by who opened them."""
        self.witness.stop()

    # ------------------------------------------------------------------------------ what is there

    def host(self, name: str) -> Host:
        """A node's or the client's machine."""
        return self.hosts[self.nodes.get(name, name)]

    @property
    def look(self) -> Look:
        """What the kernel shows."""
        return self.witness.look

    @property
    def record(self) -> Ec2:
        """What EC2 says."""
        return self.witness.record

    @property
    def owner(self) -> str:
        """The node that has everything mounted. Raises NotSeen if there is none."""
        found = self.owner_or("")
        if not found:
            raise NotSeen(f"no node has all volumes mounted: {self.state()}")
        return found

    def owner_or(self, nobody: str) -> str:
        """The node that has everything mounted, or what is given for nobody."""
        look = self.look
        owners = [n for n in self.nodes if all(n in look.nodes(volume) for volume in self.volumes)]
        return owners[0] if owners else nobody

    def others(self, *but: str) -> list[str]:
        """The other nodes, highest priority first."""
        return [name for name in self.nodes if name not in but]

    def state(self) -> str:
        """The whole state in a line, for people."""
        look, record = self.look, self.record
        parts = []
        for name in self.nodes:
            mounted = sum(name in look.nodes(volume) for volume in self.volumes)
            attached = sum(record.place(volume) == name for volume in self.volumes)
            words = [record.power.get(name, "?"), f"{attached} attached", f"{mounted} mounted"]
            words += ["MASTER"] if name in look.masters(plan.ADDRESS) else []
            words += ["has the address"] if record.holder.get(plan.ADDRESS) == name else []
            parts.append(f"{name}: {', '.join(words)}")
        return "; ".join(parts)

    def masters(self) -> tuple[str, ...]:
        """The nodes whose kernel has the service address."""
        return self.look.masters(plan.ADDRESS)

    def mounted(self, name: str) -> bool:
        """Whether a node has any of the volumes mounted."""
        return any(mount.node == name for mount in self.look.mounts)

    # ------------------------------------------------------------------------------------- client

    @property
    def client_log(self) -> Path:
        """The client's log, outside the nodes' volumes."""
        return self.host(plan.CLIENT).log("client")

    def start_client(self) -> None:
        """Begin to write, without end."""
        self._client = self.host(plan.CLIENT).spawn(
            ["/usr/bin/python3", "-u", "/opt/ledger/client.py", plan.ADDRESS, str(plan.PORT), CLIENT_LOG],
            log="client.err",
        )

    def note_start(self) -> None:
        """From now on counts."""
        self.started_at = time.monotonic()

    def acknowledged(self, since: float) -> int:
        """How many writes were acknowledged since a recent moment."""
        if not self.client_log.exists():
            return 0
        with self.client_log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            # The first line may be cut, and the last may not be whole yet.
            lines = file.read().decode("ascii", "replace").split("\n")[1:-1]
        return sum(line.startswith("A ") and float(line.split()[2]) >= since for line in lines)

    def is_served(self) -> bool:
        """Whether the client's writes are acknowledged now."""
        return self.acknowledged(time.monotonic() - SERVED_SECONDS) > 0

    # ------------------------------------------------------------------------------------ waiting

    def wait(self, what: str, holds: Callable[[], object], seconds: float, *, poll: float = 0.01) -> None:
        """Wait until something holds. Raises NotSeen with what was seen instead."""
        until = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > until:
                raise NotSeen(f"within {seconds:g} s it was not seen that {what}. Seen: {self.state()}")
            time.sleep(poll)

    def unsettled(self) -> list[str]:
        """What keeps the cluster from being settled and served, from the outside."""
        found = list(verdicts.unsettled(self.look, self.record, self.volumes, plan.ADDRESS))
        return found or ([] if self.is_served() else ["the client is not served"])

    def await_settled(self, seconds: float = 0.0, *, must: bool = True) -> bool:
        """Wait until the cluster is settled and served for a moment; whether it came to that."""
        seconds = seconds or self.settle_seconds
        until = time.monotonic() + seconds
        since: float | None = None
        while time.monotonic() < until:
            why = self.unsettled()
            since = (since or time.monotonic()) if not why else None
            if since and time.monotonic() - since >= STEADY_SECONDS:
                return True
            time.sleep(0.03)
        if must:
            raise NotSeen(
                f"the cluster was not settled within {seconds:g} s: {'; '.join(self.unsettled())}."
                f" Seen: {self.state()}"
            )
        return False

    def await_served_by(self, name: str, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until this node serves."""
        self.wait(f"{name} serves", lambda: not self.unsettled() and self.owner == name, seconds, poll=0.03)

    def prove(self, what: str, holds: bool) -> str:
        """The fault's proof as a sentence, or NoFault."""
        if not holds:
            raise NoFault(f"it was not seen that {what}. Seen: {self.state()}")
        return what

    # --------------------------------------------------------------------------------- AWS's side

    def calls(self, operation: str, name: str, since: float) -> list[Any]:
        """Baton's own calls of an EC2 operation that name a node, made since a moment."""
        wall = since - time.monotonic() + time.time()
        instance = self.nodes[name]
        return [
            call
            for call in self.cloud.calls.of(operation, kind="function")
            if call.at >= wall and instance in str(call.parameters)
        ]

    def hand_over(self, name: str, ready: str) -> str:
        """What a person does to move the cluster off a node: the documented `aws ssm send-command`.

        Returns the command's id.
        """
        sent = self.cloud.client("ssm").send_command(
            DocumentName=f"baton-{plan.STAGE}-people",
            InstanceIds=[self.nodes[name]],
            Parameters={"action": ["handover"], "cluster": [plan.CLUSTER], "ready": [self.nodes[ready]]},
        )
        return str(sent["Command"]["CommandId"])

    def command_status(self, command: str) -> str:
        """What SSM says of a command that went to one node."""
        found = self.cloud.commands.invocations(command)
        return found[0].status if found else "Pending"

    def alarmed(self, since: float) -> bool:
        """Whether a function has emitted the metric that raises the alarm of a blocked cluster."""
        wall_ms = (since - time.monotonic() + time.time()) * 1000
        return any(_emits(line, "Blocked", wall_ms) for line in list(self.cloud.lambda_log)[-2000:])

    def make_owner(self, name: str) -> None:
        """Move the cluster to a node by hand, over another one if the election goes that way."""
        for _ in range(MOVES_MOST):
            if self.owner == name:
                return
            self.move_from(self.owner, name)
        raise NotSeen(f"{name} did not become the owner in {MOVES_MOST} moves. Seen: {self.state()}")

    def move_from(self, name: str, ready: str) -> None:
        """Move the cluster off a node by hand, to whoever is elected."""
        self.hand_over(name, ready)
        self.wait(f"another node than {name} serves", lambda: self._moved_from(name), SETTLE_SECONDS)
        self.await_settled()

    def _moved_from(self, name: str) -> bool:
        return not self.unsettled() and self.owner != name

    def start_instance(self, name: str) -> None:
        """The operator starts an instance that is stopped."""
        self.cloud.client("ec2").start_instances(InstanceIds=[self.nodes[name]])

    def await_power(self, name: str, state: str, seconds: float = 30.0) -> None:
        """Wait until EC2 says so of an instance."""
        instance = self.nodes[name]
        self.wait(f"EC2 says {state} of {name}", lambda: self.cloud.state(instance) == state, seconds)

    # ----------------------------------------------------------------------------------- evidence

    def kept(self) -> frozenset[int] | None:
        """The numbers in the ledger's files, read where they are mounted; None if nobody has them."""
        try:
            host = self.host(self.owner)
            paths = [host.file(f"{disk.mount}/ledger") for disk in plan.DISKS]
            done = bounded.run(["cat", *map(str, paths)], seconds=5.0)
        except (NotSeen, bounded.Failed, bounded.Stuck):
            return None
        return frozenset(int(line) for line in _whole_lines(done.out))

    def evidence(self, since: float) -> Evidence:
        """All that was seen since a moment. The client's log is read before the ledger is."""
        end = time.monotonic()
        writes: tuple[Write, ...] = ()
        if self.client_log.exists():
            with self.client_log.open(encoding="ascii") as lines:
                writes = writes_from(lines)
        seen = self.witness.evidence(since, end)
        return replace(seen, writes=writes, kept=self.kept(), ended=end, began=since)


def _emits(line: str, metric: str, since_ms: float) -> bool:
    """Whether a line of a function's log is a metric of this name, not 0, of that time or later."""
    if '"_aws"' not in line or f'"{metric}"' not in line:
        return False
    found = json.loads(line.partition(" ")[2])
    value = found.get(metric) or 0
    highest = max(value) if isinstance(value, list) else value
    return bool(found["_aws"]["Timestamp"] >= since_ms and highest > 0)


def _whole_lines(text: str) -> Iterator[str]:
    # A line may be torn by a power cut; it was never acknowledged, and the next begins anew.
    return (line for line in text.split("\n")[:-1] if line.isdigit())
