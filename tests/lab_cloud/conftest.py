"""One embedded AWS per module, fast, over machines that are nothing but their state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from lab.cloud import Cloud, Latencies
from lab.cloud.building import Net
from tests.lab_cloud.machines import Machines, Refused

FAST = replace(Latencies.fast(), minute=3600.0)
"""No schedule fires by itself."""


@pytest.fixture(scope="module")
def shared_cloud() -> Iterator[Cloud]:
    with Cloud.start(latencies=FAST) as cloud:
        yield cloud


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def cloud(shared_cloud: Cloud, machines: Machines) -> Iterator[Cloud]:
    """The module's cloud with machines of the test's own; nothing went wrong inside it."""
    shared_cloud.use(machines)
    yield shared_cloud
    shared_cloud.set_latencies(FAST)
    shared_cloud.faults.clear()
    shared_cloud.bus.clear()
    problems = list(shared_cloud.problems)
    shared_cloud.problems.clear()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def net(shared_cloud: Cloud) -> Net:
    return shared_cloud.network("10.9.0.0/16", "10.9.0.0/24")


@contextmanager
def _refused(code: str) -> Iterator[None]:
    with pytest.raises(ClientError) as raised:
        yield
    assert raised.value.response["Error"]["Code"] == code, raised.value


@pytest.fixture
def refused() -> Refused:
    """`with refused("VolumeInUse"):` AWS answers with this code."""
    return _refused
