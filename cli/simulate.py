"""`baton simulate`: random histories of chaos, then healing; or one of them again."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tests.simulation.swarm import History

CHUNK = 20
"""Seeds that a process takes at once: some seconds of work, so that Ctrl-C is soon heard."""


@click.command(short_help="Random histories of chaos, then healing, on all cores.")
@click.option("--seeds", default=1000, show_default=True, help="How many seeds to try.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--seed", type=int, help="Tell one seed's history, shrunk if it breaks a guarantee.")
def command(seeds: int, first: int, seed: int | None) -> None:
    """Try SEEDS random histories: chaos at random rates, then healing, then progress is demanded.

    A seed that breaks a guarantee is named with the command that tells its history again, the same
    byte for byte.
    """
    if seed is not None:
        raise SystemExit(_tell(seed))
    broken, kinds = _run(range(first, first + seeds))
    faults = ", ".join(f"{kind} {n:,}" for kind, n in sorted(kinds.items()) if kind)
    click.echo(f"{seeds:,} seeds, {len(broken)} broken; faults: {faults}")
    for number, what in broken[:10]:
        click.echo(f"  {what}\n    ./baton simulate --seed {number}")
    raise SystemExit(1 if broken else 0)


def _tell(seed: int) -> int:
    from tests.simulation.swarm import shrink

    history = shrink(seed)
    click.echo(history.text(), nl=False)
    return 0 if history.broken is None else 1


def _one(seed: int) -> History:
    from tests.simulation.swarm import run

    history = run(seed)
    history.labels.clear()
    return history


def _run(seeds: range) -> tuple[list[tuple[int, str]], Counter[str]]:
    from rich.progress import Progress, TimeRemainingColumn

    broken: list[tuple[int, str]] = []
    kinds: Counter[str] = Counter()
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    with multiprocessing.Pool(os.cpu_count()) as pool, Progress(*columns) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for history in pool.imap_unordered(_one, seeds, chunksize=CHUNK):
            kinds.update(history.kinds)
            if history.broken is not None:
                broken.append((history.seed, str(history.broken)))
            progress.advance(task)
    return sorted(broken), kinds
