"""Each check finds its defect in an otherwise sound cluster, and nothing else does.

The facts are values, so a defect is a changed value: `SOUND` with one thing wrong.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from cli.preflight.facts import Facts, Report, Severity
from cli.preflight.gather import wanted_config
from cli.preflight.run import CHECKS, findings
from infra.account import Account
from infra.names import Names
from node_hook import render

A, B, STRANGER = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb", "i-0cccccccccccccccc"
VOLUME, ADDRESS, SUBNET, GROUP = "vol-0123456789abcdef0", "10.9.0.100", "subnet-1", "sg-1"
TAGS = [{"Key": "baton:stage", "Value": "prod"}, {"Key": "baton:cluster", "Value": "orders"}]
NOW = 1_700_000_000.0


def interface(node: str, address: str) -> dict[str, Any]:
    """A tagged interface of a node."""
    return {
        "NetworkInterfaceId": f"eni-{node[2:6]}",
        "SubnetId": SUBNET,
        "TagSet": TAGS,
        "Attachment": {"InstanceId": node},
        "Groups": [{"GroupId": GROUP}],
        "PrivateIpAddresses": [{"PrivateIpAddress": address, "Primary": True}],
    }


def instance(node: str, address: str) -> dict[str, Any]:
    """A sound node."""
    return {
        "InstanceId": node,
        "State": {"Name": "running"},
        "InstanceType": "m5.large",
        "PrivateIpAddress": address,
        "Placement": {"AvailabilityZone": "eu-central-1a"},
        "IamInstanceProfile": {"Arn": "arn:aws:iam::1:instance-profile/baton-prod-node"},
        "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required"},
        "Tags": TAGS,
        "NetworkInterfaces": [interface(node, address)],
        "BlockDeviceMappings": [],
    }


def host() -> dict[str, Any]:
    """What a sound node says of its host."""
    return {
        "now": NOW,
        "fstab": [],
        "enabled": [],
        "filesystems": {VOLUME: None},
        "net_utils": [],
        "keepalived": dict.fromkeys(("installed", "valid", "instance", "fifo", "running"), True),
    }


def report() -> Report:
    """A sound node's answer."""
    return Report({"status": {"config": "abc", "host": host()}}, NOW - 1, NOW + 1)


SOUND = Facts(
    names=Names("prod"),
    document={
        "version": 1,
        "name": "orders",
        "nodes": [{"id": A}, {"id": B}],
        "volumes": [
            {
                "id": VOLUME,
                "mount": "/srv/orders",
                "filesystem": "ext4",
                "uuid": "11111111-2222-3333-4444-555555555555",
            }
        ],
        "addresses": [{"address": ADDRESS, "interface": "eth0", "prefix": 24}],
    },
    nodes=(A, B),
    instances={A: instance(A, "10.9.0.11"), B: instance(B, "10.9.0.12")},
    volumes={
        VOLUME: {
            "VolumeId": VOLUME,
            "AvailabilityZone": "eu-central-1a",
            "Tags": TAGS,
            "Attachments": [{"InstanceId": A, "State": "attached"}],
        }
    },
    interfaces=[interface(A, "10.9.0.11"), interface(B, "10.9.0.12")],
    subnets={SUBNET: {"SubnetId": SUBNET, "CidrBlock": "10.9.0.0/24"}},
    reservations={SUBNET: [{"Cidr": "10.9.0.96/28"}]},
    groups={
        GROUP: {
            "GroupId": GROUP,
            "IpPermissions": [
                {"IpProtocol": "112", "UserIdGroupPairs": [{"GroupId": GROUP}], "IpRanges": []}
            ],
            "IpPermissionsEgress": [
                {"IpProtocol": "-1", "UserIdGroupPairs": [], "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
            ],
        }
    },
    types={
        "m5.large": {
            "NetworkInfo": {"Ipv4AddressesPerInterface": 10},
            "EbsInfo": {"MaximumEbsAttachments": 28},
        }
    },
    managed={
        node: {"InstanceId": node, "PingStatus": "Online", "AgentVersion": "3.3.2746.0"} for node in (A, B)
    },
    rules=dict.fromkeys(("on_word", "on_signal", "sweep"), "ENABLED"),
    recovery="ENABLED",
    reports={A: report(), B: report()},
    wanted_config={A: "abc", B: "abc"},
)


def changed(change: Callable[[Facts], object], **fields: Any) -> Facts:
    """Sound facts with one thing different."""
    facts = replace(copy.deepcopy(SOUND), **fields)
    change(facts)
    return facts


def _nothing(facts: Facts) -> None:
    """For what is changed by a field."""


def host_of(facts: Facts, node: str = B) -> Any:
    """What a node says of its host, to be changed."""
    answer: Any = facts.reports[node].answer
    return answer["status"]["host"]


def of(mapping: Any, *path: Any) -> Any:
    """A place inside nested values."""
    for key in path:
        mapping = mapping[key]
    return mapping


def second_volume_mapping(number: int) -> dict[str, Any]:
    """An attached volume that is not the cluster's."""
    return {"DeviceName": f"/dev/sd{number}", "Ebs": {"VolumeId": f"vol-{number}"}}


DEFECTS: dict[str, tuple[str, str, Callable[[], Facts]]] = {
    "a node does not exist": (
        "nodes",
        B,
        lambda: changed(_nothing, instances={A: SOUND.instances[A]}, reports={A: report()}),
    ),
    "no node carries the tag": (
        "nodes",
        "orders",
        lambda: changed(
            lambda f: of(f.volumes, VOLUME).update(Attachments=[]),
            nodes=(),
            instances={},
            reports={},
            interfaces=(),
        ),
    ),
    "a node is stopped": (
        "running",
        B,
        lambda: changed(lambda f: of(f.instances, B, "State").update(Name="stopped")),
    ),
    "a node is in another zone": (
        "zones",
        "orders",
        lambda: changed(lambda f: of(f.instances, B, "Placement").update(AvailabilityZone="eu-central-1b")),
    ),
    "a node is without the profile": (
        "profile",
        B,
        lambda: changed(lambda f: of(f.instances, B).pop("IamInstanceProfile")),
    ),
    "a node has another profile": (
        "profile",
        B,
        lambda: changed(
            lambda f: of(f.instances, B, "IamInstanceProfile").update(
                Arn="arn:aws:iam::1:instance-profile/other"
            )
        ),
    ),
    "a node is not tagged": (
        "tags",
        B,
        lambda: changed(lambda f: of(f.instances, B).update(Tags=[])),
    ),
    "SSM does not know a node": (
        "ssm",
        B,
        lambda: changed(_nothing, managed={A: SOUND.managed[A]}),
    ),
    "an agent is lost": (
        "ssm",
        B,
        lambda: changed(lambda f: of(f.managed, B).update(PingStatus="ConnectionLost")),
    ),
    "an agent is too old": (
        "agent",
        B,
        lambda: changed(lambda f: of(f.managed, B).update(AgentVersion="3.2.9999.0")),
    ),
    "metadata is off": (
        "metadata",
        B,
        lambda: changed(lambda f: of(f.instances, B, "MetadataOptions").update(HttpEndpoint="disabled")),
    ),
    "metadata answers version 1": (
        "metadata",
        B,
        lambda: changed(lambda f: of(f.instances, B, "MetadataOptions").update(HttpTokens="optional")),
    ),
    "the volume does not exist": ("volumes", VOLUME, lambda: changed(_nothing, volumes={})),
    "the volume is not tagged": (
        "tags",
        VOLUME,
        lambda: changed(lambda f: of(f.volumes, VOLUME).update(Tags=TAGS[:1])),
    ),
    "the volume is tagged for another stage": (
        "tags",
        VOLUME,
        lambda: changed(
            lambda f: of(f.volumes, VOLUME).update(Tags=[{"Key": "baton:stage", "Value": "test"}, TAGS[1]])
        ),
    ),
    "the volume is in another zone": (
        "zones",
        VOLUME,
        lambda: changed(lambda f: of(f.volumes, VOLUME).update(AvailabilityZone="eu-central-1c")),
    ),
    "the volume is attached elsewhere": (
        "stranger",
        VOLUME,
        lambda: changed(lambda f: of(f.volumes, VOLUME, "Attachments", 0).update(InstanceId=STRANGER)),
    ),
    "the volume dies with its node": (
        "delete-on-termination",
        VOLUME,
        lambda: changed(
            lambda f: of(f.instances, A, "BlockDeviceMappings").append(
                {
                    "DeviceName": "/dev/sdf",
                    "Ebs": {"VolumeId": VOLUME, "DeleteOnTermination": True},
                }
            )
        ),
    ),
    "no slot for the volume": (
        "slots",
        B,
        lambda: changed(
            lambda f: of(f.instances, B, "BlockDeviceMappings").extend(
                second_volume_mapping(n) for n in range(28)
            )
        ),
    ),
    "the address is outside the subnet": (
        "subnet",
        ADDRESS,
        lambda: changed(lambda f: of(f.subnets, SUBNET).update(CidrBlock="10.8.0.0/24")),
    ),
    "the address is a stranger's": (
        "stranger",
        ADDRESS,
        lambda: changed(
            lambda f: (
                of(f.interfaces, 1, "PrivateIpAddresses").append(
                    {"PrivateIpAddress": ADDRESS, "Primary": False}
                )
                or of(f.interfaces, 1, "Attachment").update(InstanceId=STRANGER)
            )
        ),
    ),
    "the address is primary": (
        "stranger",
        ADDRESS,
        lambda: changed(
            lambda f: of(f.interfaces, 1, "PrivateIpAddresses").append(
                {"PrivateIpAddress": ADDRESS, "Primary": True}
            )
        ),
    ),
    "the address is not reserved": (
        "reservation",
        ADDRESS,
        lambda: changed(_nothing, reservations={SUBNET: []}),
    ),
    "an interface is not tagged": (
        "tags",
        "eni-0bbb",
        lambda: changed(lambda f: of(f.interfaces, 1).update(TagSet=[])),
    ),
    "no slot for the address": (
        "slots",
        A,
        lambda: changed(lambda f: of(f.types, "m5.large", "NetworkInfo").update(Ipv4AddressesPerInterface=1)),
    ),
    "a group blocks VRRP": (
        "vrrp",
        B,
        lambda: changed(lambda f: of(f.groups, GROUP, "IpPermissions", 0).update(IpProtocol="tcp")),
    ),
    "a group blocks VRRP on the way out": (
        "vrrp",
        A,
        lambda: changed(lambda f: of(f.groups, GROUP).update(IpPermissionsEgress=[])),
    ),
    "a rule is disabled": (
        "rule",
        "baton-prod-sweep-event",
        lambda: changed(lambda f: of(f.rules).update(sweep="DISABLED")),
    ),
    "the table has no recovery": (
        "recovery",
        "baton-prod",
        lambda: changed(_nothing, recovery="DISABLED"),
    ),
    "AWS did not answer": (
        "unanswered",
        "security groups",
        lambda: changed(_nothing, groups={}, unanswered={"security groups": "denied"}),
    ),
    "a node does not answer": (
        "answer",
        B,
        lambda: changed(_nothing, reports={A: report(), B: Report(None, why="Failed")}),
    ),
    "a clock is off": (
        "clock",
        B,
        lambda: changed(lambda f: host_of(f).update(now=NOW - 60)),
    ),
    "a node's configuration is old": (
        "configuration",
        B,
        lambda: changed(_nothing, wanted_config={A: "abc", B: "def"}),
    ),
    "a volume is in fstab": (
        "fstab",
        B,
        lambda: changed(lambda f: host_of(f).update(fstab=["/srv/orders"])),
    ),
    "a unit is enabled": (
        "unit",
        B,
        lambda: changed(lambda f: host_of(f).update(enabled=["ledger.service"])),
    ),
    "the filesystem is another": (
        "filesystem",
        VOLUME,
        lambda: changed(lambda f: host_of(f).update(filesystems={VOLUME: {"UUID": "0", "TYPE": "ext4"}})),
    ),
    "the device cannot be verified": (
        "device",
        VOLUME,
        lambda: changed(lambda f: host_of(f).update(filesystems={VOLUME: {"trouble": "no serial"}})),
    ),
    "ec2-net-utils is installed": (
        "net-utils",
        B,
        lambda: changed(lambda f: host_of(f).update(net_utils=["/usr/sbin/ec2ifup"])),
    ),
    "no address": (
        "address",
        "orders",
        lambda: replace(SOUND, document={**SOUND.document, "addresses": []}),
    ),
    "keepalived is missing": (
        "keepalived",
        B,
        lambda: changed(lambda f: host_of(f)["keepalived"].update(installed=False)),
    ),
    "keepalived is misconfigured": (
        "keepalived",
        B,
        lambda: changed(lambda f: host_of(f)["keepalived"].update(valid=False)),
    ),
    "keepalived does not write to Baton": (
        "keepalived",
        B,
        lambda: changed(lambda f: host_of(f)["keepalived"].update(fifo=False)),
    ),
}


def test_a_sound_cluster_has_no_findings() -> None:
    """Nothing is found where nothing is wrong."""
    assert findings(SOUND) == []


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_with_its_remedy(defect: str) -> None:
    """Exactly the check for this defect speaks, names the thing, and says what to do."""
    check, subject, facts = DEFECTS[defect]
    found = findings(facts())
    assert (check, subject) in {(f.check, f.subject) for f in found}, found
    assert {f.check for f in found} == {check}, found
    assert all(f.remedy and f.text for f in found)


def test_nodes_in_different_subnets_are_found() -> None:
    """Two nodes without a common subnet; the address then lacks a target too."""

    def move(facts: Facts) -> None:
        of(facts.instances, B, "NetworkInterfaces", 0).update(SubnetId="subnet-2")

    found = findings(changed(move))
    assert {f.check for f in found} == {"subnets", "subnet"}


def test_every_check_has_spoken() -> None:
    """A check that never fires in these tests is a defect of the tests, or of the check."""
    spoken = set()
    for _, _, facts in DEFECTS.values():
        made = facts()
        spoken |= {check for check in CHECKS if next(check(made), None)}
    silent = {check.__name__ for check in CHECKS} - {check.__name__ for check in spoken}
    assert silent == {"share_a_subnet"}  # it has a test of its own, above


def test_the_wanted_configuration_is_what_the_node_would_render(tmp_path: Path) -> None:
    """The hash that `check` expects is that of the file which render.py writes on the node."""
    definition = tmp_path / "orders.json"
    definition.write_text(json.dumps(SOUND.document))
    hosts = [f"{A}=10.9.0.11", f"{B}=10.9.0.12"]
    render.main([str(definition), B, "prod", "eu-central-1", str(tmp_path), *hosts])
    written = (tmp_path / "etc/baton/node.json").read_bytes()
    account = Account(boto3.Session(), "123456789012", "eu-central-1")
    wanted = wanted_config(account, SOUND.names, SOUND.document, (A, B))
    assert wanted[B] == hashlib.sha256(written).hexdigest()


def test_problems_come_first() -> None:
    """What stops a hand-over is read before what only weakens it."""

    def spoil(facts: Facts) -> None:
        of(facts.instances, B, "MetadataOptions").update(HttpTokens="optional")
        of(facts.instances, B, "State").update(Name="stopped")

    severities = [f.severity for f in findings(changed(spoil))]
    assert severities == [Severity.PROBLEM, Severity.WARNING]
