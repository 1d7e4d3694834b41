"""What is said and when, without clock, files or keepalived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_hook import keepalived, voice
from node_hook.keepalived import Line, Told
from node_hook.voice import Say, Standing, Voice


def make(state: str = "BACKUP") -> Voice:
    """A voice whose last word was this state, since 100."""
    return Voice("VI", Standing(state, 100, 100.0))


def line(state: str, priority: int = 150) -> Line:
    """A line of our instance."""
    return Line("INSTANCE", "VI", state, priority)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('INSTANCE "VI_1" MASTER 150', Line("INSTANCE", "VI_1", "MASTER", 150)),
        ('GROUP "g" FAULT 0\n', Line("GROUP", "g", "FAULT", 0)),
        ('INSTANCE "a b" STOP 1', Line("INSTANCE", "a b", "STOP", 1)),
        ('INSTANCE "x" MASTER_RX_LOWER_PRI 254', Line("INSTANCE", "x", "MASTER_RX_LOWER_PRI", 254)),
        ('INSTANCE "x" BACKUP_PRIORITY 9', Line("INSTANCE", "x", "BACKUP_PRIORITY", 9)),
        ("INSTANCE x MASTER 150", None),
        ('INSTANCE "x" DANCING 150', None),
        ('INSTANCE "x" MASTER', None),
        ('INSTANCE "x" MASTER -1', None),
        ("", None),
    ],
)
def test_lines_are_understood_or_not(text: str, expected: Line | None) -> None:
    """keepalived's lines have one form; all else is nothing."""
    assert keepalived.parse(text) == expected


@given(st.text())
def test_no_line_raises(text: str) -> None:
    """Whatever comes out of a FIFO."""
    keepalived.parse(text)


def test_since_is_the_change_not_the_repetition() -> None:
    """A state said again (keepalived reloaded) stands since it began."""
    spoken = make()
    spoken.line(line("MASTER"), 200.0)
    again = spoken.line(line("MASTER"), 300.0)
    assert again == Say("transition", Standing("MASTER", 150, 200.0))


def test_the_lower_master_is_said_once_a_meeting() -> None:
    """It repeats with each advert; after a pause it is another meeting."""
    spoken = make("MASTER")
    met = line("MASTER_RX_LOWER_PRI")
    said = [at for at in (1, 2, 3, 4, 12, 13) if spoken.line(met, float(at))]
    assert said == [1, 12]
    spoken.line(line("BACKUP"), 14.0)
    spoken.line(line("MASTER"), 15.0)
    assert spoken.line(met, 15.5), "a new mastership is a new meeting"


def test_the_lower_master_tells_of_mastership() -> None:
    """Only a master hears a lower master: if MASTER was lost, this makes up for it."""
    said = make("BACKUP").line(line("MASTER_RX_LOWER_PRI", 254), 5.0)
    assert said is not None and said.standing.state == "MASTER" and said.standing.since == 5.0


def test_stop_is_said_once() -> None:
    """keepalived's own STOP is not followed by ours."""
    spoken = make("MASTER")
    assert spoken.line(line("STOP"), 5.0)
    assert spoken.vanished("gone", 6.0) is None
    assert make("MASTER").vanished("gone", 6.0) == Say("transition", Standing("STOP", 100, 6.0, "gone"))


def test_a_deleted_instance_is_stopped() -> None:
    """Taken out of keepalived's configuration: STOP, with the reason."""
    said = make().line(line("DELETED"), 5.0)
    assert said is not None and said.standing.state == "STOP" and "taken out" in said.standing.reason


def test_what_keepalived_is_asked_corrects_lost_lines() -> None:
    """Its answer is said if it is not what was said last."""
    assert make("BACKUP").told(Told("BACKUP", 1, 1.0), 5.0) is None
    said = make("BACKUP").told(Told("MASTER", 1, 1.0), 5.0)
    assert said is not None and said.standing.state == "MASTER"


@given(st.floats(0, 1))
def test_heartbeats_are_early_never_late(share: float) -> None:
    """Jitter takes from the interval, so that three heartbeats are never longer than said."""
    due = voice.next_beat(100.0, 15.0, lambda: share)
    assert 112.7 <= due <= 115.0
