"""The account as docs/deploy.md asks for it: the preflight finds nothing to complain of."""

from __future__ import annotations

import json
from typing import Any

from infra.names import CLUSTER_TAG, STAGE_TAG, Names
from infra.support import Support
from lab.cloud import Cloud
from lab.cloud.building import Net, Node
from lab.demo import plan
from lab.hosts.hosts import Hosts

TAGS = {STAGE_TAG: plan.STAGE, CLUSTER_TAG: plan.CLUSTER}
"""Baton's roles may touch what carries them, and nothing else."""
VRRP = "112"
"""keepalived's IP protocol."""
RUNNING_SECONDS = 20.0


def network(cloud: Cloud) -> Net:
    """A subnet that keeps the service address free, and whose nodes hear each other's VRRP."""
    ec2, net = cloud.client("ec2"), cloud.network(plan.VPC, plan.SUBNET)
    ec2.create_subnet_cidr_reservation(
        SubnetId=net.subnet, Cidr=f"{plan.ADDRESS}/32", ReservationType="explicit"
    )
    of_vpc = [{"Name": "vpc-id", "Values": [net.vpc]}, {"Name": "group-name", "Values": ["default"]}]
    (group,) = ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"]
    own = [{"GroupId": group["GroupId"]}]
    # VRRP has no ports, but moto wants to be told some.
    peers = {"IpProtocol": VRRP, "FromPort": -1, "ToPort": -1, "UserIdGroupPairs": own}
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[peers])
    return net


def nodes(cloud: Cloud, net: Net, support: Support) -> dict[str, Node]:
    """The three instances, running, tagged with their interfaces, with IMDSv2 alone."""
    launched = {
        name: cloud.launch(net, name, address, profile=support.node_profile, tags=TAGS, wait=False)
        for name, address in plan.NODES.items()
    }
    ec2 = cloud.client("ec2")
    ec2.create_tags(
        Resources=[node.interface for node in launched.values()],
        Tags=[{"Key": key, "Value": value} for key, value in TAGS.items()],
    )
    cloud.until(lambda: all(cloud.state(node.id) == "running" for node in launched.values()), RUNNING_SECONDS)
    for node in launched.values():
        ec2.modify_instance_metadata_options(InstanceId=node.id, HttpTokens="required")
    return launched


def volumes(cloud: Cloud, hosts: Hosts) -> list[str]:
    """The cluster's volumes, with their filesystems."""
    made = []
    for disk in plan.DISKS:
        volume = cloud.volume(tags=TAGS)
        hosts.disks.create(volume, megabytes=disk.megabytes, filesystem=disk.filesystem)
        made.append(volume)
    return made


def put_definition(cloud: Cloud, names: Names, definition: dict[str, Any]) -> None:
    """Put the cluster's definition where the app reads it."""
    cloud.client("ssm").put_parameter(
        Name=names.definition(plan.CLUSTER), Type="String", Value=json.dumps(definition), Overwrite=True
    )
