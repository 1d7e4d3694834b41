"""The operator's usual calls in few words: networks, instances, volumes. All through the API."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.cloud import patches

_READY_SECONDS = 120.0
"""An instance or a volume that is not ready after so long never will be."""


@dataclass(frozen=True, slots=True)
class Net:
    """A VPC with one subnet."""

    vpc: str
    subnet: str
    zone: str


@dataclass(frozen=True, slots=True)
class Node:
    """An instance that `launch` made."""

    id: str
    interface: str
    address: str
    zone: str
    role_id: str


class Building(ABC):
    """What a cloud offers to build with."""

    @property
    @abstractmethod
    def region(self) -> str:
        """The Region."""

    @property
    @abstractmethod
    def problems(self) -> deque[str]:
        """What went wrong inside the lab."""

    @abstractmethod
    def client(self, service: str) -> Any:
        """The operator's boto3 client."""

    @abstractmethod
    def state(self, instance: str) -> str:
        """EC2's state of an instance."""

    def network(self, cidr: str, subnet: str, zone: str = "a") -> Net:
        """A VPC with a subnet in a zone of the Region ("a", "b", "c")."""
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        return self.subnet(vpc, subnet, zone)

    def subnet(self, vpc: str, cidr: str, zone: str = "a") -> Net:
        """Another subnet of a VPC."""
        name = self.region + zone
        made = self.client("ec2").create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=name)
        return Net(vpc, made["Subnet"]["SubnetId"], name)

    def node_role(self, name: str) -> str:
        """Make the role and instance profile of this name, if they are missing; its role id."""
        iam = self.client("iam")
        try:
            role = iam.get_role(RoleName=name)["Role"]
        except iam.exceptions.NoSuchEntityException:
            role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]
        try:
            iam.get_instance_profile(InstanceProfileName=name)
        except iam.exceptions.NoSuchEntityException:
            iam.create_instance_profile(InstanceProfileName=name)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return str(role["RoleId"])

    def launch(
        self,
        net: Net,
        name: str = "",
        address: str | None = None,
        profile: str | None = "baton-lab-node",
        tags: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Node:
        """An instance of the lab's image in this subnet; `profile` None: no role, no SSM."""
        role_id = self.node_role(profile) if profile else ""
        all_tags = {**(tags or {}), **({"Name": name} if name else {})}
        options: dict[str, Any] = {"SubnetId": net.subnet}
        if address:
            options["PrivateIpAddress"] = address
        if profile:
            options["IamInstanceProfile"] = {"Name": profile}
        if all_tags:
            options["TagSpecifications"] = [_tags("instance", all_tags)]
        made = self.client("ec2").run_instances(
            ImageId=patches.IMAGE, InstanceType="m5.large", MinCount=1, MaxCount=1, **options
        )["Instances"][0]
        interface = made["NetworkInterfaces"][0]
        if wait:
            self.until(lambda: self.state(made["InstanceId"]) == "running")
        return Node(
            made["InstanceId"],
            interface["NetworkInterfaceId"],
            interface["PrivateIpAddress"],
            net.zone,
            role_id,
        )

    def volume(self, zone: str = "a", size: int = 1, tags: Mapping[str, str] | None = None) -> str:
        """A volume in a zone of the Region ("a" or its whole name)."""
        name = zone if zone.startswith(self.region) else self.region + zone
        options = {"TagSpecifications": [_tags("volume", tags)]} if tags else {}
        made = self.client("ec2").create_volume(AvailabilityZone=name, Size=size, **options)
        return str(made["VolumeId"])

    def until(self, holds: Callable[[], bool], seconds: float = _READY_SECONDS) -> None:
        """Wait until something holds; TimeoutError if it does not in time."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"not so after {seconds:.0f} s; problems: {[*self.problems]}")
            time.sleep(0.01)


def _tags(kind: str, tags: Mapping[str, str] | None) -> dict[str, Any]:
    pairs = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
    return {"ResourceType": kind, "Tags": pairs}
