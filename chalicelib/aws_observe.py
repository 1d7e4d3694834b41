"""What EC2 and SSM show, for many clusters in few calls.

EC2 allows some 20 Describes a second for the whole account, so one call asks for the volumes of
every cluster under way (500 ids fit one DescribeVolumes). What a call that failed would have
shown is absent from the observation, never guessed: absent is not gone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.answers import answer_of
from chalicelib.aws import Cloud
from chalicelib.aws_errors import classify, says_missing, says_no_invocation
from chalicelib.aws_views import (
    Raw,
    Sight,
    address_views,
    devices_of,
    instance_views,
    volume_views,
)
from chalicelib.events import BadWord
from chalicelib.model import Asked, Cluster, Observation, Record
from chalicelib.together import Together

Watched: TypeAlias = Mapping[str, tuple[Cluster, Record]]
Describe: TypeAlias = Callable[[dict[str, Any]], dict[str, Raw]]
T = TypeVar("T")

IDS_MOST: Final = 500
FILTER_MOST: Final = 200
"""How many ids, or values of a filter, one Describe takes."""

ASKED_MOST_SECONDS: Final = 3600.0
"""A command older than this is asked for no more: SSM gave up delivering it long ago."""

NAMES_MOST: Final = 20
"""Clusters that one line of the log names; a look may be for a fleet."""

logger = Logger(child=True)


class _Missing(Exception):
    """EC2 says that something named in the call does not exist."""


class Observer:
    """Looks at EC2 and SSM. Keeps what cannot change: subnets' ranges and images' devices."""

    def __init__(self, cloud: Cloud) -> None:
        self._ec2 = cloud.ec2
        self._ssm = cloud.ssm
        self._ranges: dict[str, ipaddress.IPv4Network] = {}
        self._images: dict[str, tuple[str, ...]] = {}
        self._of: dict[str, Any] = {}
        """What the present look is for, for the log."""

    def observe(self, watched: Watched, now: float, together: Together) -> dict[str, Observation]:
        """One look at everything that these clusters are about.

        `now` is when it began, so that an answer which comes during the look is not taken for
        one that did not come by its deadline.
        """
        sight = Sight(ranges=self._ranges, images=self._images)
        self._of = _of(watched)
        together.run(list(self._looks(watched, now, sight)))
        self._learn(sight)
        return {
            name: Observation(
                at=now,
                instances=instance_views(cluster, record, now, sight),
                volumes=volume_views(cluster, sight),
                addresses=address_views(cluster, sight),
                answers=tuple(
                    (id, sight.answers[id]) for id, _ in _pending(record, now) if id in sight.answers
                ),
            )
            for name, (cluster, record) in watched.items()
        }

    def _looks(self, watched: Watched, now: float, sight: Sight) -> Iterator[Callable[[], None]]:
        clusters = [cluster for cluster, _ in watched.values()]
        nodes = sorted({node for cluster in clusters for node in cluster.nodes})
        addresses = sorted({address for cluster in clusters for address in cluster.addresses})
        for part in _parts(sorted({v for cluster in clusters for v in cluster.volumes}), IDS_MOST):
            yield partial(self._look_up, "Volume", sight.volumes, self._volumes, part)
        for part in _parts(nodes, IDS_MOST):
            yield partial(self._look_up, "Instance", sight.instances, self._instances, part)
        if addresses:
            yield partial(self._see_members, sight, nodes)
            yield partial(self._see_holders, sight, addresses)
        for name, (_, record) in watched.items():
            for id, asked in _pending(record, now):
                yield partial(self._see_answer, sight, name, id, asked)

    # --------------------------------------------------------------------------------- looks

    def _volumes(self, by: dict[str, Any]) -> dict[str, Raw]:
        pages = self._ec2.get_paginator("describe_volumes").paginate(**by)
        return {volume["VolumeId"]: volume for page in pages for volume in page["Volumes"]}

    def _instances(self, by: dict[str, Any]) -> dict[str, Raw]:
        pages = self._ec2.get_paginator("describe_instances").paginate(**by)
        found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        return {instance["InstanceId"]: instance for instance in found}

    def _see_members(self, sight: Sight, nodes: list[str]) -> None:
        sight.members = self._interfaces("attachment.instance-id", nodes)

    def _see_holders(self, sight: Sight, addresses: list[str]) -> None:
        sight.holders = self._interfaces("addresses.private-ip-address", addresses)

    def _interfaces(self, name: str, values: list[str]) -> list[Raw] | None:
        def describe() -> list[Raw]:
            paginator = self._ec2.get_paginator("describe_network_interfaces")
            filters = [[{"Name": name, "Values": part}] for part in _parts(values, FILTER_MOST)]
            pages = [page for by in filters for page in paginator.paginate(Filters=by)]
            return [interface for page in pages for interface in page["NetworkInterfaces"]]

        return self._quietly("DescribeNetworkInterfaces", describe)

    def _see_answer(self, sight: Sight, cluster: str, id: str, asked: Asked) -> None:
        node = asked.command.node
        try:
            told = self._ssm.get_command_invocation(CommandId=id, InstanceId=node)
            answer = answer_of(cluster, asked.command, told)
        except (ClientError, BotoCoreError) as error:
            if not (isinstance(error, ClientError) and says_no_invocation(error)):
                self._warn("GetCommandInvocation", error)
        except BadWord as error:
            text = "a node's answer cannot be read, so it counts as none"
            epoch = asked.command.epoch
            logger.warning(text, cluster=cluster, epoch=epoch, node=node, command_id=id, why=str(error))
        else:
            if answer is not None:
                sight.answers[id] = answer

    def _learn(self, sight: Sight) -> None:
        """Look up what is new among that which never changes."""
        subnets = {interface["SubnetId"] for interface in sight.members or ()} - set(self._ranges)
        if subnets:
            asked = {"SubnetIds": sorted(subnets)}
            found = self._quietly("DescribeSubnets", lambda: self._ec2.describe_subnets(**asked))
            for subnet in (found or {}).get("Subnets", ()):
                self._ranges[subnet["SubnetId"]] = ipaddress.IPv4Network(subnet["CidrBlock"])
        images = {str(raw.get("ImageId", "")) for raw in sight.instances.values() if raw}
        for image in sorted(images - {""} - set(self._images)):
            self._learn_image(image)

    def _learn_image(self, image: str) -> None:
        try:
            found = self._quietly("DescribeImages", lambda: self._ec2.describe_images(ImageIds=[image]))
        except _Missing:
            # An image may be gone long before its instances: then only theirs are known.
            found = {"Images": []}
        if found is not None:
            self._images[image] = tuple(d for raw in found["Images"] for d in devices_of(raw))

    # ------------------------------------------------------------------------------- each call

    def _look_up(self, kind: str, found: dict[str, Raw | None], describe: Describe, ids: list[str]) -> None:
        """Describe by id. If one does not exist EC2 refuses all of them: then by filter, which shows
        those that exist, and one by one what the filter did not show."""
        try:
            found.update(self._quietly(f"Describe{kind}s", lambda: describe({f"{kind}Ids": ids})) or {})
        except _Missing:
            if len(ids) == 1:
                found[ids[0]] = None
                return
            for part in _parts(ids, FILTER_MOST):
                by = {"Filters": [{"Name": f"{kind.lower()}-id", "Values": part}]}
                seen = self._quietly(f"Describe{kind}s", lambda by=by: describe(by))  # type: ignore[misc]
                found.update(seen or {})
                for one in () if seen is None else sorted(set(part) - set(seen)):
                    self._look_up(kind, found, describe, [one])

    def _quietly(self, operation: str, call: Callable[[], T]) -> T | None:
        """What a read shows, None if it failed. Raises _Missing if EC2 says that something is not."""
        try:
            return call()
        except ClientError as error:
            if says_missing(error):
                raise _Missing from error
            self._warn(operation, error)
        except BotoCoreError as error:
            self._warn(operation, error)
        return None

    def _warn(self, operation: str, error: Exception) -> None:
        verdict = classify(operation, error)
        text = "AWS did not show what was asked for"
        logger.warning(text, **self._of, operation=operation, code=verdict.code, text=verdict.text)


def _of(watched: Watched) -> dict[str, Any]:
    """What lines of the log say that a look was for: one call may be for many clusters."""
    if len(watched) == 1:
        ((_, record),) = watched.values()
        return {"cluster": record.cluster, "epoch": record.epoch}
    return {"cluster": ", ".join([*watched][:NAMES_MOST])}


def _pending(record: Record, now: float) -> Iterator[tuple[str, Asked]]:
    """The commands that may still be answered, with SSM's id."""
    for seat in record.seats:
        for asked in seat.asked:
            if asked.id and asked.answer is None and now - asked.at < ASKED_MOST_SECONDS:
                yield asked.id, asked


def _parts(ids: list[str], most: int) -> list[list[str]]:
    return [ids[start : start + most] for start in range(0, len(ids), most)]
