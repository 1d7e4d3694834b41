"""Sets the stage: the embedded AWS, the support resources, the deployed app, the hosts.

Everything is made as a user would make it: the support stack's resources from its own template, the
functions by `chalice deploy`, the definition in Parameter Store, the nodes' files by the renderer.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import boto3

from infra.account import Account, connect
from infra.functions import CHECKOUT, Functions
from infra.names import Names
from infra.support import Support, make_support
from infra.wiring import Wiring
from lab.cloud import Cloud
from lab.cloud.building import Node
from lab.demo import account, broken, plan
from lab.demo.lab import Lab
from lab.demo.trouble import Trouble
from lab.demo.witness import Passage, Witness
from lab.hosts.hosts import BASE, Hosts, Spec
from lab.hosts.spec import Credentials
from node_hook import render

Say: TypeAlias = Callable[[str], None]

INSIDE = Path(__file__).parent / "inside"
HOOK = CHECKOUT / "node_hook"
LOGS = CHECKOUT / "state" / "demo"
"""Outside the lab, which is removed."""
UNITS = (
    "amazon-ssm-agent.service",
    *sorted(unit.name for unit in HOOK.glob("*.service")),
    "keepalived.service",
)
PRIORITY = -5
"""A nice value: above other work on this machine, below keepalived (plan.py)."""
BOOT_SECONDS = 120.0
FIRST_SECONDS = 90.0
"""Until somebody serves for the first time."""
BROKEN_SECONDS = 30.0
"""A broken build may never settle: it is not waited for as long as a good one."""


@contextmanager
def stage(say: Say, broken_as: str = "", base: Path = BASE) -> Iterator[Lab]:
    """A lab in which the app is deployed and the first owner serves; gone when the block ends."""
    # All that is started from here inherits it: on AWS nobody else's work delays three hosts and
    # Lambda, and here it would show as outages, or as elections that nobody asked for.
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    hosts = Hosts.open(base)
    try:
        with (
            Cloud.start(latencies=plan.LATENCIES, concurrency=plan.CONCURRENCY) as cloud,
            environment(cloud.environment()),
        ):
            try:
                lab = raise_curtain(cloud, hosts, say, broken_as)
                try:
                    yield lab
                finally:
                    lab.close()
            finally:
                hold_off_interrupts()
                save_logs(cloud, hosts)
    finally:
        hold_off_interrupts()
        say("taking the lab down")
        left = hosts.close()
        if left:
            say("could not be removed: " + "; ".join(left))


def hold_off_interrupts() -> None:
    """A second Ctrl-C must not end the clean-up, which is bounded, half way."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def save_logs(cloud: Cloud, hosts: Hosts) -> None:
    """Keep what functions and hosts wrote, for who wants to know why; the last run's only."""
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    (LOGS / "functions.log").write_text("\n".join(cloud.lambda_log), encoding="utf-8")
    (LOGS / "problems.log").write_text("\n".join(cloud.problems), encoding="utf-8")
    for host in hosts:
        if host.log("").is_dir():
            shutil.copytree(host.log(""), LOGS / host.name)


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """The process speaks to the lab's AWS, and to no other."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def raise_curtain(cloud: Cloud, hosts: Hosts, say: Say, broken_as: str) -> Lab:
    """Everything up to the first owner that serves."""
    say("embedded AWS: VPC, subnet, three nodes, four volumes")
    endpoint = hosts.network.gateway(cloud.endpoint)
    passage = Passage(hosts)
    cloud.use(passage)
    names = Names(plan.STAGE)
    support = make_support(boto3.Session(), plan.STAGE)
    nodes = account.nodes(cloud, account.network(cloud), support)
    volumes = account.volumes(cloud, hosts)
    definition = plan.definition([node.id for node in nodes.values()], volumes)
    account.put_definition(cloud, names, definition)
    for name, node in nodes.items():
        hosts.add(node_spec(cloud, name, node, nodes, definition, endpoint))
    hosts.add(Spec(instance=plan.CLIENT, name=plan.CLIENT, address=plan.CLIENT_ADDRESS, files=client_files()))
    # As on EC2: an address that no interface holds leads nowhere, whatever ARP says.
    hosts.moved(plan.ADDRESS, None, None)
    witness = Witness(cloud, hosts, passage)
    witness.start({node.id: name for name, node in nodes.items()}, volumes, plan.ADDRESS)
    lab = Lab(cloud, hosts, witness, {name: node.id for name, node in nodes.items()}, tuple(volumes))
    say("deploying the app with `chalice deploy`, while the hosts boot")
    booting = Aside(hosts.boot)
    deploy(connect(), names, support, hosts.directory, broken_as)
    booting.end("the hosts boot", BOOT_SECONDS)
    say("waiting for the first owner")
    lab.start_client()
    lab.note_start()
    # A broken build is not expected to get here: the scenarios will say what it lacks.
    if broken_as:
        lab.settle_seconds = BROKEN_SECONDS
        lab.await_settled(BROKEN_SECONDS, must=False)
    else:
        lab.await_settled(FIRST_SECONDS)
    return lab


class Aside:
    """Something done beside the main thread, which Ctrl-C does not wait for."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()

    def _run(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, end() hands it to the main thread
            self._error = error

    def end(self, what: str, seconds: float) -> None:
        """Wait for its end. Raises Trouble if it failed, or is not done in time."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise Trouble(f"it took longer than {seconds:g} s that {what}")
        if self._error is not None:
            raise Trouble(f"it failed that {what}: {self._error}") from self._error


def deploy(operator: Account, names: Names, support: Support, directory: Path, broken_as: str) -> None:
    """`chalice deploy` of this checkout, or of a broken copy of it, and the wiring of its events."""
    checkout = broken.build(broken_as, directory / "source") if broken_as else CHECKOUT
    lines: list[str] = []
    functions = Functions(operator, names, lambda: support, checkout=checkout, state=directory / "deploy")
    try:
        functions.prepare()
        functions.carry_out(lines.append)
        Wiring(operator, names, lambda: support).carry_out(lines.append)
    except Exception as error:  # noqa: BLE001 - whatever it is, the lines before it tell more
        raise Trouble(f"the app could not be deployed: {error}\n" + "\n".join(lines[-20:])) from error


def node_spec(
    cloud: Cloud, name: str, node: Node, nodes: dict[str, Node], definition: dict[str, Any], endpoint: str
) -> Spec:
    """A node with the hook, keepalived and the ledger."""
    addresses = {each.id: each.address for each in nodes.values()}
    keys = cloud.credentials(node.id)
    return Spec(
        instance=node.id,
        name=name,
        address=node.address,
        interface=node.interface,
        region=cloud.region,
        zone=node.zone,
        role=Names(plan.STAGE).node_role,
        credentials=Credentials(keys.access_key, keys.secret_key, keys.token),
        node=render.node_json(definition, node.id, stage=plan.STAGE, region=cloud.region),
        files={
            "/etc/keepalived/keepalived.conf": render.keepalived_conf(
                definition, node.id, addresses, stage=plan.STAGE
            ),
            "/opt/ledger/ledger.py": (INSIDE / "ledger.py").read_text(encoding="utf-8"),
            f"/etc/systemd/system/{plan.LEDGER_UNIT}": plan.LEDGER_SERVICE,
            "/etc/default/keepalived": 'DAEMON_ARGS="--log-console"\n',
            "/etc/systemd/system/keepalived.service.d/priority.conf": plan.KEEPALIVED_DROP_IN,
            "/etc/systemd/system/baton-publish.service.d/endpoint.conf": (
                f"[Service]\nEnvironment=AWS_ENDPOINT_URL={endpoint}\n"
            ),
            **{f"{disk.mount}/.keep": "" for disk in plan.DISKS},
        },
        units=UNITS,
    )


def client_files() -> dict[str, str]:
    """What the client's host needs."""
    return {"/opt/ledger/client.py": (INSIDE / "client.py").read_text(encoding="utf-8")}
