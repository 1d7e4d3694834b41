"""Each story in tests/traces still goes as it is written, and breaks no guarantee.

After a change of the core, `python -m tests.simulation.story tests/traces/*.txt` writes the stories
as they go now: the difference is to be read, and believed or not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.story import BadStory, tell

STORIES = sorted((Path(__file__).parent.parent / "traces").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_goes_as_it_is_written(path: Path) -> None:
    """Words and observations in, decisions out: line by line."""
    text = path.read_text()
    assert tell(text) == text
    assert "BROKEN" not in text


def test_there_are_at_least_twenty() -> None:
    """The stories are the protocol's documentation as well."""
    assert len(STORIES) >= 20


@pytest.mark.parametrize("line", ["a DANCES", "call", "wait long", "c MASTER"])
def test_a_line_that_is_not_understood_is_named(line: str) -> None:
    """The error says which line, and quotes it."""
    with pytest.raises(BadStory, match=f"line 2: '{line}'"):
        tell(f"nodes a b\n{line}\n")
