"""Take a guard out of a copy of the shipped source, and see which stories or tests miss it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.mutant import Mutant

CHECKOUT = Path(__file__).parent.parent.parent
SECONDS_MOST = 120
"""For the stories or the test of one mutant: one that runs in circles is killed by this."""

PARTS = (
    *("chalicelib", "infra", "lab", "node_hook"),
    *("tests/core", "tests/mutants", "tests/node_script", "tests/orchestrator"),
    *("tests/simulation", "tests/traces"),
)
FILES = ("app.py", "pyproject.toml", "tests/conftest.py", "tests/tables.py")
"""What stories, and the tests that rows name, need of the project."""

FAILED = 1
"""pytest's exit code if the tests were run and some failed: any other is no verdict."""

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
    """The parts of the project that stories and the named tests need."""
    quiet = shutil.ignore_patterns("__pycache__")
    for part in PARTS:
        shutil.copytree(CHECKOUT / part, directory / part, ignore=quiet)
    for file in FILES:
        shutil.copy(CHECKOUT / file, directory / file)


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
    """The stories, of those given, that go otherwise than they are written.

    Raises RuntimeError if none could even be begun: a patch that is no Python kills nothing.
    """
    done = _python(directory, "-c", JUDGE, *stories)
    if done is None:
        return stories
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.split()


def fails(directory: Path, *tests: str) -> bool:
    """Whether any of these tests fails. Raises RuntimeError if they could not even be run."""
    done = _python(directory, "-m", "pytest", "-q", "-x", "-p", "no:randomly", *tests)
    if done is not None and done.returncode not in (0, FAILED):
        raise RuntimeError(done.stdout + done.stderr)
    return done is None or done.returncode == FAILED


def _python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """What Python says in the copy; None if it runs in circles."""
    environment = {**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MOST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
