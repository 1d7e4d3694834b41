"""What a check may look at, and what it may say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from infra.names import CLUSTER_TAG, STAGE_TAG, Names

Raw: TypeAlias = Mapping[str, Any]
"""Something as AWS or a node describes it."""


class Severity(StrEnum):
    """PROBLEM: a hand-over would fail or endanger data. WARNING: it would be slower or weaker."""

    PROBLEM = "problem"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what to do about it."""

    check: str
    subject: str
    text: str
    remedy: str
    severity: Severity = Severity.PROBLEM


@dataclass(frozen=True, slots=True)
class Report:
    """A node's answer to people's `status`; None if none came. Times are POSIX seconds."""

    answer: Raw | None
    sent: float = 0.0
    heard: float = 0.0
    why: str = ""

    @property
    def host(self) -> Raw:
        """What the node says of its host; empty if it said nothing."""
        status = (self.answer or {}).get("status") or {}
        host: Raw = status.get("host") or {}
        return host

    @property
    def status(self) -> Raw:
        """What the node says of itself; empty if it said nothing."""
        status: Raw = (self.answer or {}).get("status") or {}
        return status


@dataclass(frozen=True)
class Facts:
    """Everything that was asked, once."""

    names: Names
    document: Raw
    """The cluster's definition."""
    nodes: tuple[str, ...]
    instances: Mapping[str, Raw] = field(default_factory=dict)
    volumes: Mapping[str, Raw] = field(default_factory=dict)
    interfaces: Sequence[Raw] = ()
    """Every interface in the nodes' subnets, strangers' too."""
    subnets: Mapping[str, Raw] = field(default_factory=dict)
    reservations: Mapping[str, Sequence[Raw]] = field(default_factory=dict)
    groups: Mapping[str, Raw] = field(default_factory=dict)
    types: Mapping[str, Raw] = field(default_factory=dict)
    managed: Mapping[str, Raw] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    """By function: ENABLED, DISABLED, or missing."""
    recovery: str = ""
    """Point-in-time recovery of the table: ENABLED, DISABLED, or missing."""
    reports: Mapping[str, Report] = field(default_factory=dict)
    wanted_config: Mapping[str, str] = field(default_factory=dict)
    """By node: the hash that its configuration should have."""
    unanswered: Mapping[str, str] = field(default_factory=dict)
    """Questions that AWS did not answer, and why: their checks found nothing, which says nothing."""

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return str(self.document["name"])

    @property
    def addresses(self) -> list[str]:
        """The service addresses."""
        return [str(a["address"]) for a in self.document.get("addresses", [])]

    @property
    def present(self) -> dict[str, Raw]:
        """The nodes that EC2 knows."""
        return {node: self.instances[node] for node in self.nodes if node in self.instances}

    def is_tagged(self, resource: Raw) -> bool:
        """Whether a resource carries the tags that let Baton touch it for this cluster."""
        tags = tags_of(resource)
        wanted = {STAGE_TAG: self.names.stage, CLUSTER_TAG: self.cluster}
        return all(tags.get(key) == value for key, value in wanted.items())

    @property
    def tag_command(self) -> str:
        """The command that tags resources for this cluster; their ids go where IDS stands."""
        tags = f"Key={STAGE_TAG},Value={self.names.stage} Key={CLUSTER_TAG},Value={self.cluster}"
        return f"aws ec2 create-tags --resources IDS --tags {tags}"


Check: TypeAlias = Callable[[Facts], Iterator[Finding]]


def tags_of(resource: Raw) -> dict[str, str]:
    """A resource's tags; EC2 calls them Tags, but TagSet on interfaces."""
    pairs = resource.get("Tags") or resource.get("TagSet") or []
    return {pair["Key"]: pair["Value"] for pair in pairs}


def interfaces_of(instance: Raw) -> Sequence[Raw]:
    """An instance's network interfaces."""
    found: Sequence[Raw] = instance.get("NetworkInterfaces", [])
    return found


def zone_of(instance: Raw) -> str:
    """An instance's availability zone."""
    return str(instance.get("Placement", {}).get("AvailabilityZone", ""))
