"""Five thousand seeds, dealt into parts that tests play: two files of them, one for each core."""

from __future__ import annotations

from collections import Counter

from tests.simulation.swarm import ACTIONS, KINDS, run

SEEDS = 5_000
PARTS = 20


def play(part: int) -> None:
    """Play a part's seeds: each settles once it heals, and each kind of fault occurs among them."""
    kinds: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    broken = []
    for seed in range(part, SEEDS, PARTS):
        history = run(seed)
        kinds += history.kinds
        actions += history.actions
        if history.broken is not None:
            broken.append(f"{history.broken}: ./baton simulate --seed {seed}")
    assert not broken
    assert not [kind for kind in KINDS if not kinds[kind]]
    assert not [action for action in ACTIONS if not actions[action]]
