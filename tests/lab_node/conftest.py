"""A node for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab_node import rig


@pytest.fixture
def node() -> Iterator[rig.Node]:
    """A node of its own, gone with all that was started in it."""
    with rig.node() as made:
        yield made
