"""Random histories: chaos, then healing; the world settles, and a seed is a history for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants import kill
from tests.simulation.swarm import KINDS, run

SEEDS = 5_000
PARTS = 20
"""Tests into which the seeds are dealt, so that both cores have some."""

CHECKOUT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_seed_settles_after_its_chaos(part: int) -> None:
    """Safety at every step, and progress once the faults stop; each kind of fault occurs."""
    kinds: Counter[str] = Counter()
    broken = []
    for seed in range(part, SEEDS, PARTS):
        history = run(seed)
        kinds += history.kinds
        if history.broken is not None:
            broken.append(f"{history.broken}: ./baton simulate --seed {seed}")
    assert not broken
    assert not [kind for kind in KINDS if not kinds[kind]]


def test_the_same_seed_is_the_same_history_in_another_process() -> None:
    """Byte for byte."""
    script = "import sys; from tests.simulation.swarm import run; print(run(7).text(), end='')"
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            timeout=100,
            check=True,
        ).stdout
        for number in (1, 2)
    ]
    assert told[0] == told[1] == run(7).text().encode()


@pytest.mark.slow
def test_a_planted_bug_is_found_shrunk_and_replayed(tmp_path: Path) -> None:
    """A build that takes volumes before they are released breaks S2 within some seeds."""
    kill.copy(tmp_path)
    shutil.copytree(CHECKOUT / "cli", tmp_path / "cli")
    handover = tmp_path / "chalicelib" / "handover.py"
    guard = "if unclear or not facts.sees_all():"
    assert handover.read_text().count(guard) == 1
    handover.write_text(handover.read_text().replace(guard, "if not facts.sees_all():"))

    search = _python(
        tmp_path,
        "from tests.simulation.swarm import run\nprint(next(s for s in range(200) if run(s).broken))",
    )
    seed = search.strip()
    replay = f"from tests.simulation.swarm import shrink; print(shrink({seed}).text(), end='')"
    first, second = _python(tmp_path, replay), _python(tmp_path, replay)
    assert first == second
    assert first.splitlines()[-1].startswith(("S1", "S2", "S10"))
    whole = f"from tests.simulation.swarm import run; print(run({seed}).text(), end='')"
    assert _faults(first) <= _faults(_python(tmp_path, whole))


def _faults(told: str) -> int:
    return sum(not line.startswith("-") for line in told.splitlines()[1:-1])


def _python(directory: Path, script: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    return done.stdout
