"""Each test of the contract gets an AWS twice: simulated, and emulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.cloud import Cloud, Latencies
from tests.contract.emulated import Emulated, Ground
from tests.contract.ports import Aws
from tests.contract.simulated import Simulated

FAST = replace(Latencies.fast(), attach=0.02, detach=0.02, busy_poll=0.03, forced_stop=0.04, minute=3600.0)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """The module's emulator. Its clients are checked against AWS's models all the time."""
    with Cloud.start(latencies=FAST) as cloud:
        yield Ground(cloud)


@pytest.fixture
def emulated(ground: Ground) -> Iterator[Emulated]:
    """A cluster at rest in the emulator; nothing went wrong inside it, or against the models."""
    made = Emulated(ground)
    yield made
    made.leave()
    ground.cloud.faults.clear()
    problems = [*ground.cloud.problems, *ground.tape.wrong]
    ground.cloud.problems.clear()
    ground.tape.wrong.clear()
    assert not problems, "\n".join(problems)


@pytest.fixture(params=["simulated", pytest.param("emulated", marks=pytest.mark.slow)])
def aws(request: pytest.FixtureRequest) -> Aws:
    """A cluster at rest, in each of the two."""
    if request.param == "simulated":
        return Simulated()
    found: Emulated = request.getfixturevalue("emulated")
    return found
