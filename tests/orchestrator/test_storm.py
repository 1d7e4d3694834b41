"""A zone's bad minute: the owners of twenty clusters fail in the same second, and AWS throttles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib import timing
from chalicelib.model import Reason
from lab.cloud import Cloud
from lab.cloud.building import Net
from tests.orchestrator.storm import One, Storm, storm

pytestmark = pytest.mark.slow

CLUSTERS = 20


@pytest.fixture
def served(cloud: Cloud, net: Net, table: str) -> Iterator[Storm]:
    """All clusters are served by their first node: their first words came at once, too."""
    with storm(cloud, net, table, CLUSTERS) as made:
        for one in made.clusters:
            made.word(one.b, "BACKUP")
            made.word(one.a, "MASTER")
        made.sweep_until(lambda: made.served() == [(one.name, one.a.id) for one in made.clusters])
        yield made


READS = ("DescribeInstances", "DescribeVolumes", "DescribeNetworkInterfaces")
MUTATIONS = ("DetachVolume", "AttachVolume", "AssignPrivateIpAddresses", "SendCommand")


def throttle(cloud: Cloud) -> None:
    """Each kind of call is over its limit for a while."""
    for operation in READS:
        cloud.faults.throttle(operation, times=2)
    for operation in (*MUTATIONS, "GetCommandInvocation"):
        cloud.faults.throttle(operation, times=CLUSTERS)
    cloud.faults.throttle("PutEvents", times=5)


def throttled(cloud: Cloud) -> set[str]:
    """The operations that were answered so."""
    codes = ("RequestLimitExceeded", "ThrottlingException")
    return {call.operation for call in cloud.calls if call.error in codes}


def test_owners_that_all_die_at_once_are_all_replaced_although_aws_throttles(served: Storm) -> None:
    """EC2 says that twenty owners are off: twenty peers get everything, and nobody is stopped."""
    for one in served.clusters:
        served.cloud.crash(one.a.id)
    throttle(served.cloud)
    stops = len(served.cloud.calls.of("StopInstances"))
    for one in served.clusters:
        served.word(one.b, "MASTER")
    served.sweep_until(lambda: served.served() == [(one.name, one.b.id) for one in served.clusters])
    assert served.hosts.double == []
    assert len(served.cloud.calls.of("StopInstances")) == stops
    assert throttled(served.cloud) >= {*READS, *MUTATIONS, "GetCommandInvocation", "PutEvents"}


def is_decided(served: Storm, one: One) -> bool:
    """Whether the other node serves, or a person is asked."""
    obstacle = served.record(one).obstacle
    return served.is_served_by(one, one.b) or (obstacle and obstacle.reason) is Reason.FENCE_BUDGET


def test_owners_that_all_fall_silent_at_once_are_not_all_stopped(served: Storm) -> None:
    """Twenty hang while EC2 says running: the budget's worth is stopped and replaced, and for the
    rest a person is asked, who sees why so many fall silent; their volumes stay where they are."""
    for one in served.clusters:
        one.a.on = False
    for one in served.clusters:
        served.word(one.b, "MASTER")
    served.sweep_until(lambda: all(is_decided(served, one) for one in served.clusters))
    stopped = {node for node, how in served.hosts.power if how == "pulled"}
    assert len(stopped) == timing.FENCES_MOST
    for one in served.clusters:
        if one.a.id in stopped:
            assert served.is_served_by(one, one.b)
        else:
            assert served.record(one).obstacle.reason is Reason.FENCE_BUDGET
            assert one.a.mounted == {one.volume}
            assert (served.cloud.attachment(one.volume) or ("",))[0] == one.a.id
    assert served.hosts.double == []
