"""The publisher beside real keepalived: what the bus heard, against what happened."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from node_hook import config, hold, keepalived
from node_hook.paths import Paths
from tests.lab_publish.election import Election, election
from tests.node_publish.stage import wait


@pytest.fixture
def here() -> Iterator[Election]:
    """Two sides, publisher and keepalived running on the first, which is alone and master."""
    with election() as made:
        made.node.ready()
        made.keepalived("a")
        made.until("MASTER")
        yield made


def holding(here: Election) -> str:
    """The hold file's path."""
    return str(here.node.root / "run" / "hold")


def paths(here: Election) -> Paths:
    """Where the node's scripts find things."""
    return config.load(str(here.node.root / "etc" / "node.json")).paths


def test_nothing_is_lost_at_the_start(here: Election) -> None:
    """The publisher is there first: BACKUP, 30 ms after keepalived's start, is on the bus too."""
    assert here.states() == ["BACKUP", "MASTER"]
    assert here.node.bus.taken[0]["state"] == "STOP"
    assert here.holds_address("a")


def test_an_orderly_stop_is_said_once(here: Election) -> None:
    """keepalived's own STOP, and no second one of ours."""
    here.started["a"].terminate()
    here.started["a"].wait(5)
    here.until("STOP")
    time.sleep(1.3)
    assert here.states() == ["BACKUP", "MASTER", "STOP"]
    assert "reason" not in here.node.bus.taken[-1]


def test_a_killed_keepalived_is_said_though_it_says_nothing(here: Election) -> None:
    """kill -9 of all of it: the address stays on the interface, and STOP is said within a second."""
    began = time.monotonic()
    here.kill_all()
    here.until("STOP")
    assert time.monotonic() - began < 5
    assert "vanished" in here.node.bus.taken[-1]["reason"]
    assert here.holds_address("a"), "the fault did not occur"


def test_a_reload_loses_nothing(here: Election) -> None:
    """It says nothing of what has not changed; what changes afterwards is heard."""
    before = here.states()
    here.started["a"].send_signal(signal.SIGHUP)
    log = here.root / "ka-a" / "log"
    wait(lambda: b"eload" in log.read_bytes(), here.node)
    hold.put(holding(here), "test")
    here.until("FAULT")
    assert here.states() == [*before, "FAULT"]
    hold.clear(holding(here), "test")
    here.until("MASTER")


def test_a_killed_child_flaps(here: Election) -> None:
    """kill -9 of the VRRP child: keepalived starts another; the last word is MASTER."""
    os.kill(here.vrrp_child(), signal.SIGKILL)
    wait(lambda: here.states()[-2:] == ["BACKUP", "MASTER"] and len(here.states()) == 4, here.node)
    assert "STOP" not in here.states()


def test_a_killed_parent_stops(here: Election) -> None:
    """kill -9 of the parent: its child stops in order and says STOP itself, once."""
    here.started["a"].kill()
    here.until("STOP")
    time.sleep(1.3)
    assert here.states() == ["BACKUP", "MASTER", "STOP"]


def test_a_restarted_publisher_says_what_is_not_what_was(here: Election) -> None:
    """Killed, and back after changes: it discards old lines, and asks keepalived how it stands."""
    here.node.kill()
    hold.put(holding(here), "test")
    # It takes the address off first: by its own word it is MASTER for some milliseconds more.
    wait(lambda: keepalived.current(paths(here), "baton-orders") == "FAULT")
    assert not here.holds_address("a")
    last = here.node.bus.taken[-1]["sequence"]
    here.node.ready()
    # Killed before it had the bus's answer, it says that word again: the same word, of the same age.
    assert [word["state"] for word in here.node.bus.taken if word["sequence"] > last] == ["FAULT"]
    hold.clear(holding(here), "test")
    here.until("MASTER")


def test_keepalived_started_before_the_publisher(here: Election) -> None:
    """keepalived is up and master when the publisher starts: its first word is MASTER."""
    here.node.stop()
    before = len(here.node.bus.taken)
    here.node.ready()
    assert here.node.bus.taken[before]["state"] == "MASTER"
    assert here.node.bus.taken[before]["kind"] == "start"


def test_the_hold_gives_mastership_up(here: Election) -> None:
    """Any reason in the hold file means FAULT, and the peer takes over."""
    here.keepalived("b")
    hold.put(holding(here), "one")
    hold.put(holding(here), "two")
    here.until("FAULT")
    wait(lambda: here.holds_address("b"), here.node)
    hold.clear(holding(here), "one")
    time.sleep(0.3)
    assert here.node.bus.taken[-1]["state"] == "FAULT"
    hold.clear(holding(here), "two")
    here.until("BACKUP")
    assert here.holds_address("b"), "taking the hold back must not take mastership back"


def test_the_winner_of_a_healed_partition_speaks(here: Election) -> None:
    """Both are master; healed, the winner says no MASTER by itself, and the publisher does."""
    here.cut("-A", "a", "b")
    here.keepalived("b")
    wait(lambda: here.holds_address("b"), here.node)
    assert here.holds_address("a"), "the fault did not occur"
    said = len(here.states())
    # The winner hears first. Were it the loser, it would fall silent before the winner heard it, and
    # the heartbeat alone would tell.
    here.cut("-D", "a")
    wait(lambda: len(here.states()) == said + 1, here.node)
    here.cut("-D", "b")
    wait(lambda: not here.holds_address("b"), here.node)
    assert here.node.bus.taken[-1]["state"] == "MASTER"
    assert here.node.bus.taken[-1]["reason"] == "another master was heard"


def test_lines_that_keepalived_dropped_are_made_up_for(here: Election) -> None:
    """With the FIFO full keepalived drops a change without a word; the heartbeat asks it."""
    here.node.configure(heartbeat_seconds=1)
    here.node.stop()
    here.node.ready()
    assert here.node.process is not None
    here.node.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, here.node.process.pid, os.WSTOPPED | os.WNOWAIT)
    fifo = os.open(here.node.root / "run" / "vrrp.fifo", os.O_RDWR | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(fifo, b"x" * 100 + b"\n")
    with pytest.raises(BlockingIOError):
        while True:
            os.write(fifo, b"\n")
    os.close(fifo)
    hold.put(holding(here), "test")
    # Its answer comes from the same loop that wrote, or dropped, the line before.
    paths = config.load(str(here.node.root / "etc" / "node.json")).paths
    wait(lambda: keepalived.current(paths, "baton-orders") == "FAULT")
    here.node.process.send_signal(signal.SIGCONT)
    here.until("FAULT")
    assert here.node.bus.taken[-1]["reason"] == "keepalived was asked"


def test_a_node_without_agent_does_not_stand_for_election(here: Election) -> None:
    """The agent down and nothing served: FAULT. Back again: a candidate."""
    here.node.agent("inactive", 0)
    here.node.others[0].kill()
    here.node.others[0].wait(5)
    here.until("FAULT", 12)
    assert "agent" in hold.reasons(holding(here))
    here.node.agent("active", os.getpid())
    here.until("MASTER")


def test_asking_keepalived(here: Election) -> None:
    """Its own word, fresh; STOP when it does not run; no answer from a frozen one, in bounded time."""
    assert keepalived.current(paths(here), "baton-orders") == "MASTER"
    assert keepalived.current(paths(here), "another") is None
    os.kill(here.vrrp_child(), signal.SIGSTOP)
    began = time.monotonic()
    assert keepalived.current(paths(here), "baton-orders") is None
    assert time.monotonic() - began < 3
    os.kill(here.vrrp_child(), signal.SIGCONT)
    here.kill_all()
    # Its child may take some milliseconds to be gone: until then nobody knows.
    wait(lambda: keepalived.current(paths(here), "baton-orders") == "STOP")


def test_the_plain_notify_hook() -> None:
    """keepalived without our FIFO, with the notify hook: the last word is the state that holds."""
    with election(hook=True) as made:
        made.node.ready()
        made.keepalived("a")
        wait(lambda: "MASTER" in made.states(), made.node)
        path = str(made.node.root / "run" / "hold")
        for _ in range(2):
            hold.put(path, "flap")
            time.sleep(0.1)
            hold.clear(path, "flap")
            time.sleep(0.1)
        wait(lambda: made.holds_address("a"), made.node)
        # Hooks run at once and end in any order; when the last has ended, the truth is said. Whether
        # it is MASTER between the two is keepalived's affair: a tenth of a second may be too short.
        wait(lambda: made.states().count("FAULT") >= 2, made.node)
        made.until("MASTER")
