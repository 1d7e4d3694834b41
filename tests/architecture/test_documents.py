"""What the documents say is there is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chalicelib.model import Reason
from cli.main import GROUPS
from cli.picture import CLEARS
from cli.words import STANDING
from tests.architecture.test_shape import ROOT, tracked

DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file of the repository."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_exist(path: Path) -> None:
    """Every `./baton COMMAND` in a document is a command."""
    known = {name for commands in GROUPS.values() for name in commands}
    named = set(re.findall(r"\./baton ([a-z][a-z-]+)", path.read_text()))
    assert named <= known, named - known


def test_the_guide_knows_every_state_and_reason() -> None:
    """Whoever is on call finds what the screen says."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    assert [state for state in STANDING if f"| `{state}` |" not in guide] == []
    assert [reason.value for reason in Reason if f"| {reason.value} |" not in guide] == []
    assert set(CLEARS) == set(Reason)
