"""Take a guard out of a copy of the shipped source, and see which stories miss it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.table import Mutant

CHECKOUT = Path(__file__).parent.parent.parent
SECONDS_MOST = 120
"""For the stories of one mutant: a mutant that runs in circles is killed by this."""

JUDGE = """
import sys
from pathlib import Path
from tests.simulation.story import tell
differ = []
for name in sys.argv[1:]:
    path = Path("tests/traces") / f"{name}.txt"
    text = path.read_text()
    try:
        if tell(text) != text:
            differ.append(name)
    except Exception as problem:  # whatever a broken core raises, the story does not go on
        differ.append(name)
print(" ".join(differ))
"""


def copy(directory: Path) -> None:
    """The parts of the project that a story needs."""
    quiet = shutil.ignore_patterns("__pycache__")
    for part in ("chalicelib", "node_hook", "tests/simulation", "tests/traces"):
        shutil.copytree(CHECKOUT / part, directory / part, ignore=quiet)


@contextmanager
def mutated(directory: Path, mutant: Mutant) -> Iterator[None]:
    """The copy without the guard, while the block lasts.

    Raises ValueError if the guard's text does not stand there exactly once.
    """
    path = directory / mutant.file
    source = path.read_text()
    found = source.count(mutant.old)
    if found != 1:
        raise ValueError(f"{mutant.guard}: its text stands {found} times in {mutant.file}")
    path.write_text(source.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        path.write_text(source)


def missed_by(directory: Path, stories: list[str]) -> list[str]:
    """The stories, of those given, that go otherwise than they are written."""
    environment = {**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", JUDGE, *stories],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MOST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return stories
    return stories if done.returncode else done.stdout.split()
