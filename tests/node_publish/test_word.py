"""The word as JSON: complete, truthful about mounts, and refused if it is not a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_hook import config, word
from node_hook.duty import Memory
from node_hook.voice import Say, Standing

THERE = word.Around("orders", "i-0123456789abcdef0", "b-1", "a" * 64, 7, 6, 7, True)
SAY = Say("transition", Standing("MASTER", 254, 1.5))


def good() -> dict[str, Any]:
    """A word."""
    return word.detail(5, SAY, THERE)


@pytest.mark.parametrize(
    ("memory", "wanted", "found", "expected"),
    [
        (7, ["/a", "/b"], {"/a", "/b", "/"}, 7),
        (None, ["/a"], {"/a"}, 0),
        (7, ["/a", "/b"], {"/a"}, 0),
        (7, ["/a"], {"/"}, None),
        (None, ["/a"], {"/"}, None),
        (7, [], set(), 7),
        (None, [], set(), None),
    ],
)
def test_serving_is_what_is_mounted(
    memory: int | None, wanted: list[str], found: set[str], expected: int | None
) -> None:
    """The epoch if all is mounted, 0 for mounts that no epoch accounts for, None for none."""
    assert word.serving(Memory(9, 6, memory), wanted, found) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "DANCING"),
        ("kind", "rumour"),
        ("sequence", 0),
        ("sequence", 1.5),
        ("agent", 1),
        ("highest", -1),
        ("released", None),
        ("serving", "7"),
        ("priority", 256),
        ("boot", ""),
        ("cluster", "../x"),
        ("node", "i-x"),
        ("config", "zz"),
        ("version", 2),
        ("reason", 3),
        ("extra", 1),
        ("since", True),
        ("software", None),
    ],
)
def test_what_is_no_word_is_not_sent(field: str, value: object) -> None:
    """Each field is checked before anything leaves the node."""
    with pytest.raises(word.BadWord, match=field):
        word.check({**good(), field: value})


@pytest.mark.parametrize("field", sorted(set(good()) - {"node", "reason"}))
def test_a_missing_field_is_no_word(field: str) -> None:
    """Every field but the optional ones must be there."""
    found = good()
    del found[field]
    with pytest.raises(word.BadWord, match=field):
        word.check(found)


@given(st.text(max_size=2000))
def test_any_reason_makes_a_small_word(reason: str) -> None:
    """A long or odd reason is cut, stays one line of JSON, and can be spooled."""
    said = Say("transition", Standing("FAULT", 0, 0.0, reason))
    text = json.dumps(word.detail(5, said, THERE))
    assert "\n" not in text and len(text) < 4000


def test_mounts_with_spaces_are_found(tmp_path: Path) -> None:
    """mountinfo writes a space as \\040."""
    (tmp_path / "self").mkdir()
    line = "36 35 98:0 / /srv/my\\040data rw,noatime - ext4 /dev/x rw\n"
    (tmp_path / "self" / "mountinfo").write_text(line)
    document = {"version": 1, "stage": "test", "cluster": "orders", "paths": {"proc": str(tmp_path)}}
    assert word.mounted(config.parse(document)) == {"/srv/my data"}


def test_a_damaged_epoch_file_does_not_silence_the_node(tmp_path: Path) -> None:
    """The word is said without epochs; the node script tells people of the file."""
    (tmp_path / "epoch.json").write_text("{")
    document = {"version": 1, "stage": "test", "cluster": "orders", "paths": {"state": str(tmp_path)}}
    there = word.around(config.parse(document), True)
    assert (there.highest, there.released, there.serving) == (0, 0, None)


def test_the_epoch_file_is_told(tmp_path: Path) -> None:
    """highest and released come from the node script's file, at each word."""
    (tmp_path / "boot").write_text("b-1\n")
    (tmp_path / "epoch.json").write_text('{"highest": 9, "released": 8, "serving": null, "boot": "b-1"}')
    paths = {"state": str(tmp_path), "boot_id": str(tmp_path / "boot")}
    document = {"version": 1, "stage": "test", "cluster": "orders", "paths": paths}
    there = word.around(config.parse(document), True)
    assert (there.highest, there.released, there.boot) == (9, 8, "b-1")
