"""Every named scope is explored to its end: no interleaving breaks a guarantee, and each settles."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.simulation.explore import explore
from tests.simulation.pool import forget
from tests.simulation.scope import Scope
from tests.simulation.scopes import CI, LONG


@pytest.fixture(autouse=True)
def unburdened() -> Iterator[None]:
    """Nothing is freed while a scope is explored; looking for garbage would take a third."""
    forget()
    gc.disable()
    yield
    gc.enable()
    forget()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scope", CI, ids=lambda scope: scope.name)
def test_a_scope_holds_to_its_end(scope: Scope, capsys: pytest.CaptureFixture[str]) -> None:
    """Every safety checker after each step; every path comes to rest settled."""
    found = explore(scope)
    with capsys.disabled():
        print(f"\n{found.line()}")
    assert found.broken is None, "\n".join(found.trace)
    assert found.settled > 0


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("scope", LONG, ids=lambda scope: scope.name)
def test_a_long_scope_holds_to_its_end(scope: Scope, capsys: pytest.CaptureFixture[str]) -> None:
    """The same, for scopes that take more than a minute."""
    test_a_scope_holds_to_its_end(scope, capsys)
