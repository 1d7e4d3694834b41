"""The hold file: non-zero while any reason stands, whoever put it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_hook import hold


def test_it_holds_until_the_last_reason_is_cleared(tmp_path: Path) -> None:
    """Two reasons; clearing one leaves the node held."""
    path = tmp_path / "run" / "hold"
    assert hold.put(str(path), "agent", "the agent\nis down")
    assert hold.put(str(path), "health")
    assert not hold.put(str(path), "agent", "still down")
    assert hold.reasons(str(path)) == {"agent": "still down", "health": ""}
    assert path.read_text().startswith("1\n")
    assert hold.clear(str(path), "agent")
    assert path.read_text().startswith("1\n")
    assert hold.clear(str(path), "health")
    assert path.read_text() == "0\n"
    assert not hold.clear(str(path), "health")


def test_no_file_is_no_reason(tmp_path: Path) -> None:
    """As keepalived reads it."""
    assert hold.reasons(str(tmp_path / "hold")) == {}
    assert not hold.clear(str(tmp_path / "hold"), "agent")


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    """A bare 1, written by hand, outlives Baton's own reasons."""
    path = tmp_path / "hold"
    path.write_text("1\n")
    hold.put(str(path), "agent")
    hold.clear(str(path), "agent")
    assert path.read_text().startswith("1\n")


def test_a_reason_is_a_word(tmp_path: Path) -> None:
    """Anything else would break the file."""
    with pytest.raises(ValueError, match="one short"):
        hold.put(str(tmp_path / "hold"), "two words")
