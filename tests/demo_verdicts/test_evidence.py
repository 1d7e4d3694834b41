"""Evidence is read as it was written, and a line that is not whole yet is not read."""

from __future__ import annotations

import json

from lab.demo import evidence
from lab.demo.evidence import Write
from lab.demo.timeline import timeline
from tests.demo_verdicts.histories import handover


def test_the_clients_log_without_a_torn_last_line() -> None:
    lines = ["S 1 10.0\n", "A 1 10.1\n", "S 2 10.2\n", "S 3 10.3\n", "A 3 1"]
    assert evidence.writes_from(lines) == (Write(1, 10.0, 10.1), Write(2, 10.2), Write(3, 10.3))


def test_a_look_is_read_back() -> None:
    line = {
        "at": 1.5,
        "until": 1.6,
        "mounts": [["a", "boot", "vol-1", "/srv/x", True]],
        "addresses": {"a": ["10.9.0.11", "10.9.0.100"]},
        "epochs": {"a": 3},
    }
    look = evidence.look_from(json.dumps(line))
    assert look.nodes("vol-1", live=True) == {"a"}
    assert look.masters("10.9.0.100") == ("a",)
    assert look.epochs == {"a": 3}


def test_the_outage_is_the_longest_silence() -> None:
    writes = [Write(1, 1.0, 1.1), Write(2, 1.2), Write(3, 4.0, 4.5), Write(4, 5.0, 5.1)]
    assert round(evidence.longest_silence(writes, 1.0, 5.2), 3) == 3.4


def test_without_any_acknowledgement_the_outage_is_the_whole_time() -> None:
    assert evidence.longest_silence([Write(1, 1.0)], 1.0, 9.0) == 8.0


def test_the_timeline_has_the_steps_that_can_be_seen() -> None:
    steps = {step.name: step.milliseconds for step in timeline(handover(), [], {}, 0.5, "a", "b")}
    assert {name: round(at) for name, at in steps.items()} == {
        "released": 1000,
        "address moved": 1200,
        "detached": 1500,
        "attached": 2000,
        "mounted": 2200,
        "serving": 2400,
    }
