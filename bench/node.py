#!/usr/bin/env python3
"""What the node script costs beside its floor: start-up and a clean release. Needs root.

    python3 bench/node.py [--times N] [--markdown]

Floors: a bare interpreter that does nothing, and a bare `umount` of the same filesystem. Both are
measured from outside, as the SSM agent would wait for them. The release does more than the umount:
it remembers its epoch durably, looks into every mount namespace, flushes and verifies the device,
and makes the word that goes with its answer durable.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab_node import rig  # noqa: E402


def median_ms(times: int, work: Callable[[], None], before: Callable[[], None] = lambda: None) -> float:
    """Median duration; `before` is not timed."""
    found = []
    for _ in range(times):
        before()
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1000)
    return statistics.median(found)


def run(node: rig.Node, *argv: str) -> None:
    """A command in the node, its output thrown away."""
    subprocess.run(
        [*node.enter(), *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=node.environment(),
        timeout=30,
        check=False,
    )


def measure(times: int) -> dict[str, float]:
    """Medians in milliseconds, by what was measured."""
    script = [rig.PYTHON, "-IS", str(ROOT / "node_hook/node.py")]
    with rig.node() as node:
        node.write_config()
        disk = node.disk()
        epochs = iter(range(1, 10_000))

        def mount() -> None:
            run(node, "mount", "-t", "ext4", disk.loop, node.mount)

        def release() -> None:
            deadline = f"{time.time() + 10:.3f}"
            words = ["--cluster", "orders", "--epoch", str(next(epochs)), "--deadline", deadline]
            run(node, *script, "release", *words)

        Path(node.mount).mkdir()
        return {
            "bare interpreter": median_ms(times, lambda: run(node, rig.PYTHON, "-IS", "-c", "pass")),
            "start-up, refused": median_ms(times, lambda: run(node, *script, "status", "--epoch", "x")),
            "bare umount": median_ms(times, lambda: run(node, "umount", node.mount), mount),
            "clean release": median_ms(times, release, mount),
            "release again": median_ms(times, release),
        }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    found = measure(given.times)
    floors = {
        "start-up, refused": "bare interpreter",
        "clean release": "bare umount",
        "release again": "bare interpreter",
    }
    line = "| {:<18} | {:>9} | {:>28} |" if given.markdown else "{:<18} {:>9} {:>28}"
    print(line.format("what", "median ms", "times its floor"))
    if given.markdown:
        print("|---|--:|--:|")
    for name, spent in found.items():
        floor = floors.get(name)
        ratio = f"{spent / found[floor]:.1f} x {floor}" if floor else ""
        print(line.format(name, f"{spent:.1f}", ratio))
    return 0


if __name__ == "__main__":
    sys.exit(main())
