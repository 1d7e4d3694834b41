"""Cluster definitions: what an operator wrote in Parameter Store, checked field by field.

A definition that is broken stops its own cluster and no other. Its text is the whole definition,
also the parts that only nodes need (mount points, units): one place says what a cluster is, and
`cluster.schema.json` beside this module says the same to editors and to `baton apply`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import timing
from chalicelib.aws_errors import says_no_parameter
from chalicelib.clients import Client
from chalicelib.model import Cluster, FencePolicy
from chalicelib.schema import defects

CACHE_SECONDS: Final = 20
"""A change of a definition is seen this late; each sweep then reads it once, not each word."""

Members: TypeAlias = Callable[[str, str], tuple[str, ...]]
"""The instances that carry a tag: key, value -> instance ids."""


class BrokenDefinition(Exception):
    """A definition that cannot be used; the text names the cluster and each field to mend."""


class UnknownCluster(Exception):
    """There is no definition of this name in the stage."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition that was checked. `tag`: key and value that name the nodes, if it does so."""

    cluster: Cluster
    tag: tuple[str, str] | None
    document: dict[str, Any]


@cache
def schema() -> dict[str, Any]:
    """The published JSON Schema of definitions."""
    text = Path(__file__).with_name("cluster.schema.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def parse(name: str, text: str) -> Definition:
    """The definition in a parameter's text. Raises BrokenDefinition with all that is wrong."""
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BrokenDefinition(f"cluster {name}: its definition is not JSON: {error}") from None
    return check(name, document)


def check(name: str, document: Any) -> Definition:
    """The definition in a decoded document. Raises BrokenDefinition with all that is wrong."""
    found = list(defects(document, schema(), schema(), "the definition"))
    found = found or list(_contradictions(name, document))
    if found:
        raise BrokenDefinition(
            f"cluster {name}: its definition is broken, and it is left alone until that is mended:"
            f" {'; '.join(found[:5])}"
        )
    return _definition(document)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _contradictions(name: str, document: dict[str, Any]) -> Iterator[str]:
    """What the schema cannot say."""
    if document["name"] != name:
        yield f"name is {document['name']!r}, but it is stored as {name!r}"
    heartbeat = document.get("heartbeat_seconds", timing.HEARTBEAT_SECONDS)
    if document.get("challenge_seconds", timing.CHALLENGE_SECONDS) >= heartbeat:
        yield "challenge_seconds must be less than heartbeat_seconds"
    nodes = document["nodes"] if isinstance(document["nodes"], list) else []
    volumes, addresses = document.get("volumes", []), document.get("addresses", [])
    yield from _doubles("nodes", [node["id"] for node in nodes])
    yield from _doubles("volumes", [volume["id"] for volume in volumes])
    yield from _doubles("volumes", [volume["mount"] for volume in volumes])
    yield from _doubles("addresses", [address["address"] for address in addresses])
    yield from _doubles("units", document.get("units", []))
    if not volumes and not addresses:
        yield "volumes and addresses are both empty: there is nothing to hand over"


def _doubles(field: str, values: list[str]) -> Iterator[str]:
    for value in sorted({value for value in values if values.count(value) > 1}):
        yield f"{field} names {value} twice"


def _definition(document: dict[str, Any]) -> Definition:
    nodes: Any = document["nodes"]
    tag = None
    if isinstance(nodes, dict):
        nodes, tag = [], (nodes["tag"], nodes["value"])
    cluster = Cluster(
        name=document["name"],
        nodes=tuple(node["id"] for node in nodes),
        volumes=tuple(volume["id"] for volume in document.get("volumes", [])),
        addresses=tuple(address["address"] for address in document.get("addresses", [])),
        fence=FencePolicy(document.get("fence", FencePolicy.STOP)),
        heartbeat_seconds=float(document.get("heartbeat_seconds", timing.HEARTBEAT_SECONDS)),
        challenge_seconds=float(document.get("challenge_seconds", timing.CHALLENGE_SECONDS)),
        stopping_seconds=float(document.get("stopping_seconds", timing.STOPPING_SECONDS)),
        paused=document.get("paused", False),
    )
    return Definition(cluster, tag, document)


class Clusters:
    """The definitions of one stage, read through a cache of some seconds."""

    def __init__(self, client: Client, stage: str, members: Members) -> None:
        self._provider = SSMProvider(boto3_client=client)
        self._path = f"/baton/{stage}/clusters"
        self._members = members
        self._known: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}
        """Instances by tag, and when they were looked up; a process lives for hours."""

    def get(self, name: str) -> Cluster:
        """One cluster. Raises UnknownCluster, BrokenDefinition."""
        try:
            text = self._provider.get(f"{self._path}/{name}", max_age=CACHE_SECONDS, decrypt=False)
        except GetParameterError as error:
            if not says_no_parameter(error.__context__):
                raise
            raise UnknownCluster(f"there is no definition at {self._path}/{name}") from None
        return self._resolve(parse(name, str(text)))

    def all(self) -> dict[str, Cluster | BrokenDefinition]:
        """Every cluster by name; a broken definition in place of its cluster."""
        texts = self._provider.get_multiple(self._path, max_age=CACHE_SECONDS, decrypt=False)
        found: dict[str, Cluster | BrokenDefinition] = {}
        for name, text in sorted((texts or {}).items()):
            try:
                found[name] = self._resolve(parse(name, str(text)))
            except BrokenDefinition as error:
                found[name] = error
        return _without_clashes(found)

    def _resolve(self, definition: Definition) -> Cluster:
        cluster = definition.cluster
        if definition.tag is None:
            return cluster
        key, value = definition.tag
        nodes = self._tagged(cluster.name, key, value)
        if not nodes:
            raise BrokenDefinition(
                f"cluster {cluster.name}: nodes names the tag {key}={value}, and no instance"
                " carries it: tag the nodes, or mend the definition"
            )
        return replace(cluster, nodes=nodes)

    def _tagged(self, name: str, key: str, value: str) -> tuple[str, ...]:
        """The instances that carry the tag; those known before, if EC2 does not say."""
        now = time.monotonic()
        at, known = self._known.get((key, value), (-math.inf, ()))
        if now - at < CACHE_SECONDS:
            return known
        try:
            self._known[key, value] = (now, self._members(key, value))
        except (ClientError, BotoCoreError) as error:
            if not known:
                raise BrokenDefinition(
                    f"cluster {name}: EC2 does not say which instances carry {key}={value}"
                    f" ({error}); it is left alone until EC2 does"
                ) from None
            return known
        return self._known[key, value][1]


def _without_clashes(
    found: dict[str, Cluster | BrokenDefinition],
) -> dict[str, Cluster | BrokenDefinition]:
    """Both of two clusters that name the same volume or node are broken: neither may move it."""
    users: dict[str, list[str]] = {}
    for name, cluster in found.items():
        if isinstance(cluster, Cluster):
            for resource in (*cluster.volumes, *cluster.nodes):
                users.setdefault(resource, []).append(name)
    for resource, names in users.items():
        for name in names if len(names) > 1 else ():
            others = ", ".join(other for other in names if other != name)
            found[name] = BrokenDefinition(
                f"cluster {name}: {resource} is named by {others} as well: take it out of one"
            )
    return found
