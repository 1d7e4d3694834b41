"""A stage in moto's AWS with one cluster of two nodes, and a way to run commands against it."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result
from moto import mock_aws

from chalicelib.model import Record, Vrrp, Word
from chalicelib.store import Store
from cli.main import baton
from infra.names import Names
from tests.tables import make_table

REGION = "eu-west-1"
NUMBERS = itertools.count(1)


@dataclass
class Stage:
    """A stage with the cluster `orders`: nodes a and b, a volume on a, the address on a."""

    names: Names
    store: Store
    a: str
    b: str
    volume: str
    address: str
    over: threading.Event = field(default_factory=threading.Event)
    world: threading.Thread | None = None

    @property
    def nodes(self) -> tuple[str, str]:
        """Both nodes, the first one the owner."""
        return self.a, self.b

    def run(self, *arguments: str, typed: str = "") -> Result:
        """Runs `./baton ARGUMENTS` with this stage, and these lines on standard input."""
        environment = {"BATON_STAGE": self.names.stage, "COLUMNS": "150"}
        return CliRunner().invoke(baton, list(arguments), input=typed, env=environment)

    def say(self, node: str, state: Vrrp, **others: Any) -> Word:
        """A node's word, said just now and accepted."""
        word = Word(node, state, int(time.time() * 1000), "boot-1", **others)
        assert self.store.accept("orders", word)
        return word

    def record(self, **changes: Any) -> Record:
        """Stores the record with these changes, as a driver would."""
        now = time.time()
        taken = self.store.take(self.store.load("orders"), "driver", now, now + 60)
        assert taken
        stored = self.store.persist(replace(taken, **changes), None, now)
        assert stored
        assert self.store.give_up(stored)
        return stored

    def settle(self, owner: str, epoch: int) -> Record:
        """The cluster settled on `owner`, who says so."""
        for node in self.nodes:
            mine = node == owner
            self.say(
                node,
                Vrrp.MASTER if mine else Vrrp.BACKUP,
                priority=254 if mine else 253,
                highest=epoch,
                released=epoch - 1,
                serving=epoch if mine else None,
            )
        now = time.time()
        marks = (("granted", now - 61.0), ("released", now - 60.2), ("settled", now - 58.0))
        because = f"{owner} says MASTER"
        return self.record(
            epoch=epoch,
            owner=owner,
            previous=owner,
            highest_issued=epoch,
            settled=True,
            granted_at=now - 61,
            because=because,
            marks=marks,
        )

    def make_document(self, then: Callable[[], object]) -> None:
        """Registers the people's document, and what the world does once the owner was asked.

        The command follows the record for real; that the record changes is what a Lambda would do.
        """
        ssm = boto3.client("ssm", REGION)
        content = {"schemaVersion": "2.2", "description": "stands for the real one", "mainSteps": []}
        ssm.create_document(
            Name=self.names.people_document, Content=json.dumps(content), DocumentType="Command"
        )

        def world() -> None:
            while not self.over.wait(0.1):
                if self.commands():
                    then()
                    return

        self.world = threading.Thread(target=world)
        self.world.start()

    def end(self) -> None:
        """The world stands still."""
        self.over.set()
        if self.world:
            self.world.join()

    def define(self, cluster: str, definition: dict[str, Any]) -> None:
        """Puts a definition, broken or not, into Parameter Store."""
        boto3.client("ssm", REGION).put_parameter(
            Name=self.names.definition(cluster), Value=json.dumps(definition), Type="String"
        )

    def commands(self) -> list[Any]:
        """What SSM was asked to run with this stage's documents."""
        sent = boto3.client("ssm", REGION).list_commands()["Commands"]
        return [command for command in sent if command["DocumentName"] == self.names.people_document]

    def definition(self) -> dict[str, Any]:
        """The definition as it is in Parameter Store now."""
        got = boto3.client("ssm", REGION).get_parameter(Name=self.names.definition("orders"))
        return dict(json.loads(got["Parameter"]["Value"]))


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    """An account with nothing of Baton's in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "BATON_STAGE"):
            patch.delenv(name, raising=False)
        with mock_aws():
            yield


@pytest.fixture(scope="module")
def machines(account: None) -> tuple[str, str, str, str]:
    """Two instances, a volume and an address on the first. moto takes seconds to make its first VPC."""
    ec2 = boto3.client("ec2", REGION)
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")["Subnet"]
    image = ec2.register_image(Name="a node", Architecture="x86_64", RootDeviceName="/dev/xvda")["ImageId"]
    run = ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, SubnetId=subnet["SubnetId"])
    a, b = run["Instances"]
    volume = ec2.create_volume(Size=1, AvailabilityZone=subnet["AvailabilityZone"])["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=a["InstanceId"], Device="/dev/sdf")
    interface = a["NetworkInterfaces"][0]["NetworkInterfaceId"]
    address = subnet["CidrBlock"].rpartition(".")[0] + ".200"
    ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=[address])
    return a["InstanceId"], b["InstanceId"], volume, address


@pytest.fixture
def stage(machines: tuple[str, str, str, str]) -> Iterator[Stage]:
    """A new stage with the cluster `orders` on these machines."""
    a, b, volume, address = machines
    names = Names(f"test-{next(NUMBERS)}")
    dynamodb = boto3.client("dynamodb", REGION)
    make_table(dynamodb, names.table)
    made = Stage(names, Store(dynamodb, names.table), a, b, volume, address)
    made.define("orders", definition_of(made))
    yield made
    made.end()
    boto3.client("ec2", REGION).start_instances(InstanceIds=[a])


def definition_of(stage: Stage) -> dict[str, Any]:
    """The definition of `orders`."""
    return {
        "version": 1,
        "name": "orders",
        "nodes": [{"id": stage.a}, {"id": stage.b}],
        "volumes": [{"id": stage.volume, "mount": "/srv/orders", "filesystem": "ext4"}],
        "addresses": [{"address": stage.address, "interface": "eth0", "prefix": 24}],
    }
