"""The lab's embedded AWS, one per module, and an empty table for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from chalicelib.store import Store
from lab.cloud import Cloud, Latencies
from lab.cloud.building import Net
from tests import tables
from tests.orchestrator.orders import Orders, cluster, prepare

_numbers = itertools.count()


@pytest.fixture(scope="module")
def shared_cloud() -> Iterator[Cloud]:
    """An AWS in which things take no time to speak of."""
    with Cloud.start(latencies=Latencies.fast()) as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud: Cloud) -> Iterator[Cloud]:
    """The module's AWS; nothing went wrong inside it."""
    yield shared_cloud
    shared_cloud.faults.clear()
    shared_cloud.bus.clear()
    problems = list(shared_cloud.problems)
    shared_cloud.problems.clear()
    assert not problems, "\n".join(problems)


@pytest.fixture
def table(cloud: Cloud) -> str:
    """An empty table for records."""
    return make_table(cloud)


def make_table(cloud: Cloud) -> str:
    """Another empty table."""
    return tables.make_table(cloud.client("dynamodb"), f"baton-unit-{next(_numbers)}")


@pytest.fixture
def store(cloud: Cloud, table: str) -> Store:
    """A store on an empty table."""
    return Store(cloud.client("dynamodb"), table)


@pytest.fixture(scope="module")
def net(shared_cloud: Cloud) -> Net:
    """A network for all clusters of the module."""
    return prepare(shared_cloud)


@pytest.fixture
def orders(cloud: Cloud, net: Net, table: str) -> Iterator[Orders]:
    """A cluster at rest, of this test's own."""
    with cluster(cloud, net, table) as made:
        yield made
