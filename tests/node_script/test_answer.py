"""The answer is one line of JSON that SSM does not cut, whatever is told in it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from node_hook.config import parse
from node_hook.duty import Order
from node_hook.holders import MOST_NAMED, Holder, name_them
from node_hook.job import Job, answer, short

CUT_BYTES = 24_000
WORD_BYTES = 4_096
"""The word that is added at the end: no line of the spool is longer."""


@given(st.text(max_size=400), st.integers(2, 300))
def test_short_is_a_beginning_that_fits(text: str, most: int) -> None:
    """The whole of it, if it fits."""
    found = short(text, most)
    assert text.startswith(found) and len(json.dumps(found)) <= most
    assert found == text or len(json.dumps(text)) > most


def test_the_longest_answer_is_not_cut() -> None:
    """Everything at its longest, in letters that take six bytes each."""
    job = Job(parse({"version": 1, "stage": "test", "cluster": "c" * 63}), Order("release", 10**11 - 1), "b")
    long = [Holder(4_000_000 + i, "ü" * 15, "mapped", "ü" * 4096, True) for i in range(2 * MOST_NAMED)]
    job.holders = name_them(long, {holder.pid: "KILL" for holder in long})
    job.steps = dict.fromkeys((f"step {i}" for i in range(20)), 10**6)
    job.notes = ["ü" * 5000]
    line = json.dumps(answer(job, "still-master", "configuration", "ü" * 5000))
    assert len(line) + WORD_BYTES <= CUT_BYTES
