"""The embedded AWS: start it, use it through its endpoint, break it on purpose, look at it.

    with Cloud.start(latencies=Latencies.fast(), machinery=hosts) as cloud:
        net = cloud.network("10.9.0.0/16", "10.9.0.0/24")
        node = cloud.launch(net, name="a", address="10.9.0.11", tags={"baton:cluster": "orders"})
        volume = cloud.volume(size=1, tags={"baton:cluster": "orders"})
        cloud.client("ec2").attach_volume(VolumeId=volume, InstanceId=node.id, Device="/dev/sdf")

Everything is done through the AWS API at `endpoint`, by boto3, the CLI, or `chalice deploy`
(`environment()` holds the variables they read). One cloud per process: moto's state is global.

- `machinery`  what EC2 and SSM do to the machines (machinery.py); `Nothing` by default.
- `latencies`  how long each thing takes (settings.py); `Latencies.fast()` for tests;
               `set_latencies` exchanges them.
- `faults`     throttle, fail (applied or not), deny, slow, hang, stale, stick/unstick,
               ssm_late/lost/undelivered/twice, clear (faults.py).
- `bus`        lose, duplicate, delay, reorder the next events; fire a rule; history (bus.py).
- `calls`      every API call with its principal, parameters and error code (calls.py).
- `functions`  invocations, failed, recycle (functions.py); `lambda_log` holds what they print.
- `commands`   SSM: managed instances, register, forget, invocations (run_command.py).
- `problems`   tracebacks of what went wrong inside the lab; a test expects none.

Principals: `credentials(instance)` are a node's keys (its role may publish its own words and do
nothing else), each function has keys of its role, every other key is the operator's.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.cloud import addresses, patches
from lab.cloud import instances as power
from lab.cloud.building import Building
from lab.cloud.bus import Bus
from lab.cloud.calls import OPERATOR, Calls, Credentials, Principal
from lab.cloud.faults import Faults
from lab.cloud.functions import Functions
from lab.cloud.keeper import Keeper
from lab.cloud.machinery import Machinery, Nothing
from lab.cloud.run_command import RunCommand
from lab.cloud.server import Server
from lab.cloud.settings import Latencies, Settings
from lab.cloud.world import World, enter, leave


class Cloud(Building):
    """A running embedded AWS. Make one with `Cloud.start`."""

    def __init__(self, world: World, server: Server) -> None:
        self._world = world
        self._server = server
        self._clients: dict[str, Any] = {}

    @classmethod
    def start(
        cls,
        host: str = "127.0.0.1",
        port: int = 0,
        latencies: Latencies | None = None,
        machinery: Machinery | None = None,
        runtime: Path | None = None,
        concurrency: int = 10,
    ) -> Cloud:
        """Serve an AWS with nothing in it but the lab's image.

        `port` 0 is any free one. `runtime`: the virtual environment that Lambda functions run
        in, by default `.venv-lambda` at the top of the checkout; it is needed only to invoke.
        `concurrency`: environments per function, each a process of some 50 MB that costs half a
        second of a core to start.
        """
        chosen: dict[str, Any] = {"latencies": latencies or Latencies(), "concurrency": concurrency}
        if runtime is not None:
            chosen["runtime"] = runtime
        world = World(Settings(**chosen), machinery or Nothing())
        enter(world)
        try:
            patches.install()
            patches.fresh(world)
            world.bus, world.functions = Bus(world), Functions(world)
            world.commands, world.keeper = RunCommand(world), Keeper()
            server = Server(host, port)
        except BaseException:
            leave(world)
            raise
        world.endpoint = server.endpoint
        world.timeline.start()
        threading.Thread(target=world.bus.run_schedules, name="schedules", daemon=True).start()
        return cls(world, server)

    def stop(self) -> None:
        """End everything: no thread does anything any more, no process is left. Idempotent."""
        world = self._world
        if world.stopped.is_set():
            return
        world.stopped.set()
        world.functions.close()
        world.timeline.stop()
        self._server.stop()
        world.functions.close()
        world.keeper.close()
        leave(world)

    def __enter__(self) -> Cloud:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """URL of every service; hosts reach it through their network's gateway."""
        return self._world.endpoint

    @property
    def account(self) -> str:
        """The account number."""
        return self._world.settings.account

    @property
    def region(self) -> str:
        """The Region."""
        return self._world.settings.region

    @property
    def latencies(self) -> Latencies:
        """How long things take."""
        return self._world.latencies

    def set_latencies(self, latencies: Latencies) -> None:
        """From now on things take this long; what is under way keeps its time."""
        self._world.settings = replace(self._world.settings, latencies=latencies)

    @property
    def faults(self) -> Faults:
        """What shall go wrong."""
        return self._world.faults

    @property
    def bus(self) -> Bus:
        """EventBridge."""
        return self._world.bus

    @property
    def calls(self) -> Calls:
        """The record of API calls."""
        return self._world.calls

    @property
    def functions(self) -> Functions:
        """Lambda."""
        return self._world.functions

    @property
    def commands(self) -> RunCommand:
        """SSM Run Command."""
        return self._world.commands

    @property
    def lambda_log(self) -> deque[str]:
        """Lines "<function> <what it printed>"."""
        return self._world.lambda_log

    @property
    def problems(self) -> deque[str]:
        """What went wrong inside the lab."""
        return self._world.timeline.problems

    def use(self, machinery: Machinery) -> None:
        """Exchange the machinery: hosts that need the endpoint are made after the start."""
        self._world.machinery = machinery

    def environment(self, credentials: Credentials | None = None) -> dict[str, str]:
        """The variables by which SDKs, CLI and Chalice find this cloud; as the operator."""
        keys = credentials or self._world.principals.credentials(OPERATOR)
        return {
            **keys.environment(),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        """A boto3 client, without retries; the operator's unless credentials are given."""
        keys = credentials or self._world.principals.credentials(OPERATOR)
        name = f"{service} {keys.access_key}"
        if name not in self._clients:
            self._clients[name] = self._make_client(service, keys)
        return self._clients[name]

    def credentials(self, instance: str) -> Credentials:
        """What the instance's metadata service would give: keys of its role's session."""
        role, role_id = self._role(instance)
        principal = Principal("node", instance, f"{role_id}:{instance}", role)
        return self._world.principals.credentials(principal)

    def source(self, instance: str, stage: str) -> str:
        """The event source under which the instance may publish."""
        return f"baton.{stage}.node/{self._role(instance)[1]}:{instance}"

    def state(self, instance: str) -> str:
        """EC2's state of an instance, without an API call."""
        with self._world.lock:
            return str(self._world.ec2.get_instance(instance).state)

    def attachment(self, volume: str) -> tuple[str, str, str] | None:
        """(instance, device, state) of a volume, without an API call; None if available."""
        with self._world.lock:
            found = self._world.ec2.get_volume(volume).attachment
            return (found.instance.id, found.device, found.status) if found else None

    def holder(self, address: str) -> str | None:
        """The instance that holds an address by EC2's record, without an API call."""
        _, instance = addresses.holder_of(self._world, address)
        return instance

    def crash(self, instance: str) -> None:
        """The machine dies by itself: powered off at once, and EC2 says `stopped`."""
        power.crash(self._world, instance)

    def _role(self, instance: str) -> tuple[str, str]:
        """Name and id of the role in the instance's profile."""
        with self._world.lock:
            found = self._world.ec2.iam_instance_profile_associations.get(instance)
            roles = found.iam_instance_profile.roles if found else []
            if not roles:
                raise LookupError(f"{instance} has no instance profile with a role: no credentials")
            return str(roles[0].name), str(roles[0].id)

    def _make_client(self, service: str, keys: Credentials) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=20,
        )
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            aws_session_token=keys.token,
            config=config,
        )
