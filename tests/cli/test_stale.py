"""What a killed test run left is removed by a later one, and nothing else is."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.conftest import PREFIX, STALE_SECONDS, remove_stale


def test_only_what_is_old_and_ours_goes(tmp_path: Path) -> None:
    """A run that may still be at work, and everybody else's folders, stay."""
    long_ago = time.time() - STALE_SECONDS - 60
    for name, old in ((f"{PREFIX}dead", True), (f"{PREFIX}alive", False), ("other", True)):
        (tmp_path / name / "deep").mkdir(parents=True)
        if old:
            os.utime(tmp_path / name, (long_ago, long_ago))
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{PREFIX}alive", "other"]
