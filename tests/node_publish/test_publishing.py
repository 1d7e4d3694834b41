"""The daemon from the FIFO to the bus. What counts is what the bus took, and what is on disk."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_hook.spool import Spool
from tests.node_publish.stage import SOURCE, Node, stage, wait

BOTH = ("transition", "start")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node whose publisher is not started yet."""
    with stage(tmp_path) as made:
        yield made


@pytest.fixture
def running(node: Node) -> Node:
    """A node with a publisher and a keepalived that says what the test says."""
    node.start()
    node.keepalived()
    wait(lambda: node.bus.words("start"), node)
    node.vrrp("BACKUP")
    wait(lambda: node.bus.words("transition"), node)
    return node


def states(node: Node) -> list[str]:
    """The states it told, as the bus took them."""
    return [word["state"] for word in node.bus.words("transition")]


def increasing(node: Node) -> bool:
    """Whether the bus took the words in order."""
    sequences = [word["sequence"] for word in node.bus.taken]
    return sequences == sorted(set(sequences))


def test_transitions_arrive_in_order_from_the_nodes_own_source(running: Node) -> None:
    """Each line is a word, in the order of the FIFO, under the name that IAM binds."""
    for state in ("MASTER", "FAULT", "BACKUP", "MASTER"):
        running.vrrp(state)
    wait(lambda: len(states(running)) == 5, running)
    assert states(running) == ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER"]
    assert increasing(running)
    assert {entry["Source"] for entry in running.bus.entries} == {SOURCE}
    assert {entry["DetailType"] for entry in running.bus.entries} == {"Baton Word"}


def test_a_word_says_everything(running: Node) -> None:
    """A word carries state, order, boot, epochs, agent, configuration, and since when."""
    running.vrrp("MASTER", 253)
    wait(lambda: "MASTER" in states(running), running)
    word = running.bus.taken[-1]
    now = time.time()
    assert word["priority"] == 253 and word["cluster"] == "orders"
    assert word["boot"] == "11111111-2222-3333-4444-555555555555"
    assert (word["highest"], word["released"], word["serving"]) == (0, 0, None)
    assert word["agent"] is False and len(word["config"]) == 64
    assert abs(word["sequence"] / 1000 - now) < 5 and abs(word["since"] / 1000 - now) < 5


def test_lines_from_before_are_stale(node: Node) -> None:
    """What was in the FIFO before the publisher started is thrown away, not said."""
    os.mkfifo(node.root / "run" / "vrrp.fifo", 0o600)
    holder = os.open(node.root / "run" / "vrrp.fifo", os.O_RDWR | os.O_NONBLOCK)
    os.write(holder, b'INSTANCE "baton-orders" MASTER 254\n')
    node.ready()
    time.sleep(0.1)
    os.close(holder)
    assert [word["state"] for word in node.bus.taken] == ["STOP"]


def test_keepalived_that_vanishes_is_said(running: Node) -> None:
    """kill -9 of all of keepalived says nothing itself; the publisher says STOP, and why."""
    running.vrrp("MASTER")
    wait(lambda: "MASTER" in states(running), running)
    running.others[0].kill()
    began = time.monotonic()
    wait(lambda: states(running)[-1] == "STOP", running)
    assert time.monotonic() - began < 5
    assert "vanished" in running.bus.taken[-1]["reason"]


def test_keepalived_killed_and_the_publisher_stopped_in_one_breath(running: Node) -> None:
    """Nobody is left to say STOP but the publisher, in its last moment."""
    running.vrrp("MASTER")
    wait(lambda: "MASTER" in states(running), running)
    running.others[0].kill()
    assert running.stop() == 0
    assert states(running)[-1] == "STOP"


def test_a_fifo_without_a_writer_is_no_end(running: Node) -> None:
    """keepalived is gone, its end of the FIFO closed; the next one is heard as ever."""
    running.others[0].kill()
    wait(lambda: states(running)[-1] == "STOP", running)
    running.keepalived()
    running.vrrp("MASTER")
    wait(lambda: states(running)[-1] == "MASTER", running)


def test_two_masters_are_said_once(running: Node) -> None:
    """MASTER_RX_LOWER_PRI comes with each advert; MASTER is said again once."""
    running.vrrp("MASTER")
    for _ in range(50):
        running.vrrp("MASTER_RX_LOWER_PRI")
    running.vrrp("FAULT")
    wait(lambda: "FAULT" in states(running), running)
    assert states(running) == ["BACKUP", "MASTER", "MASTER", "FAULT"]
    assert running.bus.taken[-2]["reason"] == "another master was heard"


def test_other_instances_are_not_ours(running: Node) -> None:
    """Lines of groups, other instances and changed priorities change nothing."""
    running.line('INSTANCE "another" MASTER 254')
    running.line('GROUP "baton-orders" MASTER 0')
    running.line('INSTANCE "baton-orders" BACKUP_PRIORITY 10')
    running.vrrp("FAULT")
    wait(lambda: "FAULT" in states(running), running)
    assert states(running) == ["BACKUP", "FAULT"]


def test_lines_that_make_no_sense_are_logged_and_left(running: Node) -> None:
    """Rubbish in the FIFO costs a log line each, and the next line counts as ever."""
    rubbish = ["MASTER", 'INSTANCE "baton-orders" DANCING 254', "\x00\xff" * 400, "x" * 9000]
    for line in ["", *rubbish]:
        running.line(line)
    running.vrrp("MASTER")
    wait(lambda: "MASTER" in states(running), running)
    assert running.log.count("ignored a line") == len(rubbish)


def test_the_heartbeat_repeats_the_state_and_says_since_when(node: Node) -> None:
    """Heartbeats carry the present state with the time of its last change."""
    node.configure(heartbeat_seconds=1)
    node.start()
    node.keepalived()
    wait(lambda: node.bus.words("start"), node)
    node.vrrp("MASTER")
    wait(lambda: len([w for w in node.bus.words("heartbeat") if w["state"] == "MASTER"]) >= 2, node)
    said = node.bus.words("transition")[-1]
    beats = [w for w in node.bus.words("heartbeat") if w["state"] == "MASTER"]
    assert {beat["since"] for beat in beats} == {said["since"]}
    gap = beats[1]["sequence"] - beats[0]["sequence"]
    assert 800 <= gap <= 3000


def test_the_agents_state_is_a_word_at_once(running: Node) -> None:
    """The SSM agent's going and coming is said within seconds, with the state unchanged."""
    agent = subprocess.Popen(["sleep", "100"])
    try:
        running.agent("active", agent.pid)
        wait(lambda: running.bus.taken[-1]["agent"] is True, running)
        assert running.bus.taken[-1]["state"] == "BACKUP"
    finally:
        running.agent("inactive", 0)
        agent.kill()
        agent.wait()
    wait(lambda: running.bus.taken[-1]["agent"] is False, running)
    assert states(running) == ["BACKUP"] * 3


def test_the_last_word_is_published_at_a_stop(running: Node) -> None:
    """keepalived's STOP and the publisher's SIGTERM in one breath: STOP is on the bus."""
    running.vrrp("STOP")
    assert running.stop() == 0
    assert states(running)[-1] == "STOP"
    assert running.view["waiting"] == 0


@pytest.mark.slow
def test_a_stop_is_bounded_when_the_network_is_gone(running: Node) -> None:
    """A bus that hangs does not hold up a shutdown; the words go out after the next start."""
    running.bus.behave = lambda call, entries: (500, {})
    running.vrrp("MASTER")
    wait(lambda: running.view["state"] == "MASTER", running)
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 13
    running.bus.behave = lambda call, entries: None
    running.ready()
    assert "MASTER" in states(running)


def test_whatever_fails_is_tried_until_it_is_taken(running: Node) -> None:
    """Refusals, throttling, rubbish and broken connections: every transition arrives, once."""
    troubles = [
        (400, {"__type": "ThrottlingException", "message": "slow"}),
        (200, {"Entries": []}),
        (403, {"__type": "AccessDeniedException", "message": "no"}),
        (200, "rubbish"),
    ]
    running.bus.behave = lambda call, entries: troubles.pop() if troubles else None
    for state in ("MASTER", "BACKUP"):
        running.vrrp(state)
    wait(lambda: len(states(running)) == 3, running)
    assert states(running) == ["BACKUP", "MASTER", "BACKUP"]
    assert increasing(running)
    wait(lambda: "publishing again" in running.log, running)


def test_entries_fail_one_by_one(running: Node) -> None:
    """A batch of which some entries fail: those alone are sent again."""
    running.bus.behave = lambda call, entries: (500, {})
    for state in ("MASTER", "BACKUP", "MASTER", "BACKUP"):
        running.vrrp(state)
    wait(lambda: len(running.spooled()) == 6, running)
    first: list[int] = []

    def some(call: int, entries: list[dict[str, object]]) -> object:
        first.append(call)
        return ["InternalFailure" if i % 2 and call == first[0] else "" for i in range(len(entries))]

    running.bus.behave = some
    wait(lambda: len(states(running)) == 5, running)
    sequences = [word["sequence"] for word in running.bus.taken]
    assert len(sequences) == len(set(sequences)), "an entry that was taken was sent again"


def test_a_count_of_failures_without_their_codes_is_no_acknowledgement(running: Node) -> None:
    """An answer that contradicts itself: the word is sent again."""
    answers: list[int] = []

    def contradict(call: int, entries: list[dict[str, object]]) -> object:
        answers.append(call)
        unclear = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}] * len(entries)}
        return (200, unclear) if len(answers) == 1 else None

    running.bus.behave = contradict
    running.vrrp("MASTER")
    wait(lambda: states(running) == ["BACKUP", "MASTER"], running)


def test_a_word_that_the_bus_will_never_take_holds_nothing_up(running: Node) -> None:
    """A verdict on the word itself: it is dropped, with an error in the log, and the next one goes."""
    running.bus.behave = lambda call, entries: ["MalformedDetail"] * len(entries)
    running.vrrp("FAULT")
    wait(lambda: "will never take this word" in running.log, running)
    running.bus.behave = lambda call, entries: None
    running.vrrp("MASTER")
    wait(lambda: states(running) == ["BACKUP", "MASTER"], running)
    wait(lambda: running.view["waiting"] == 0, running)


@pytest.mark.slow
def test_a_hung_endpoint_hangs_nothing(running: Node) -> None:
    """While the bus hangs the FIFO is read and the spool written; afterwards all arrives."""
    running.bus.behave = lambda call, entries: 3.5
    before = len(running.bus.taken)
    running.vrrp("MASTER")
    wait(lambda: len(running.bus.calls) > before, running)
    for _ in range(20):
        running.vrrp("FAULT")
        running.vrrp("MASTER")
    wait(lambda: len(running.spooled()) == 43, running)
    running.bus.behave = lambda call, entries: None
    wait(lambda: len(states(running)) >= 42, running)
    assert max(running.bus.calls) == 10


def test_the_fifo_never_fills(running: Node) -> None:
    """Five times the FIFO's 64 KiB in one burst: keepalived's write never fails."""
    running.bus.behave = lambda call, entries: (500, {})
    fifo = os.open(running.root / "run" / "vrrp.fifo", os.O_RDWR | os.O_NONBLOCK)
    line = b'INSTANCE "another" MASTER 150\n'
    for _ in range(5 * 65536 // len(line)):
        deadline = time.monotonic() + 5
        while True:
            try:
                os.write(fifo, line)
                break
            except BlockingIOError:
                assert time.monotonic() < deadline, "the FIFO stays full"
    os.close(fifo)


def test_words_survive_kill_and_restart(running: Node) -> None:
    """kill -9 with words on the way: the next publisher sends them, in their old order."""
    running.bus.behave = lambda call, entries: (500, {})
    for state in ("MASTER", "FAULT", "BACKUP"):
        running.vrrp(state)
    wait(lambda: len(running.spooled()) == 5, running)
    running.kill()
    running.bus.behave = lambda call, entries: None
    running.ready()
    assert states(running) == ["BACKUP", "MASTER", "FAULT", "BACKUP"]
    assert increasing(running)


def test_there_is_one_publisher(running: Node) -> None:
    """A second daemon says that there is one already, and leaves."""
    first = running.process
    running.start()
    assert running.process is not None and running.process.wait(10) == 1
    assert "another publisher" in running.log
    running.process = first


def test_the_notify_hook_goes_through_the_same_spool(running: Node) -> None:
    """The plain hook's word is published, and becomes the state that heartbeats repeat."""
    assert running.notify("INSTANCE", "baton-orders", "MASTER", "200") == 0
    wait(lambda: states(running)[-1] == "MASTER", running)
    assert running.bus.taken[-1]["priority"] == 200
    wait(lambda: running.view["state"] == "MASTER", running)
    assert increasing(running)


def test_the_notify_hook_works_while_no_publisher_runs(node: Node) -> None:
    """What a hook appends without a daemon is sent by the next one, before its start."""
    assert node.notify("INSTANCE", "baton-orders", "MASTER", "200") == 0
    node.ready()
    assert [word["kind"] for word in node.bus.taken] == ["transition", "start"]


def test_a_notify_hook_for_others_says_nothing(node: Node) -> None:
    """Groups and other instances share the hook and are no words of ours."""
    assert node.notify("GROUP", "baton-orders", "MASTER", "0") == 0
    node.ready()
    assert [word["kind"] for word in node.bus.taken] == ["start"]


def test_a_clock_days_ahead_is_told_and_worked_around(node: Node) -> None:
    """AWS refuses our signature for its time: the log says so, and AWS's time is used to sign."""
    node.bus.ahead = -3 * 86400
    stamp = time.strftime("%Y%m%d", time.gmtime(time.time() - 3 * 86400))

    def strict(call: int, entries: list[dict[str, object]]) -> object:
        signed = node.bus.headers[-1]["x-amz-date"]
        return None if signed.startswith(stamp) else (403, {"__type": "x#InvalidSignatureException"})

    node.bus.behave = strict
    node.ready()
    wait(lambda: "clock is 259" in node.log and "s ahead of AWS's" in node.log, node)


def test_a_clock_that_was_days_ahead(node: Node) -> None:
    """The last word is dated in the future: told, and words go on from there until the clock is right."""
    spool = Spool(str(node.root / "state" / "spool"))
    word = {"kind": "answer"}
    ahead = spool.append(time.time() + 3 * 86400, lambda number: json.dumps({**word, "sequence": number}))
    node.ready()
    assert node.bus.words("start")[-1]["sequence"] == ahead.sequence + 1
    assert "the last word is dated 259" in node.log


def test_what_people_look_at_is_replaced_as_a_whole(running: Node) -> None:
    """Who has state.json open goes on reading the old one, never half of the new one."""
    with open(running.root / "run" / "state.json", encoding="utf-8") as file:
        before = file.read()
        running.vrrp("MASTER")
        wait(lambda: running.view["state"] == "MASTER", running)
        file.seek(0)
        assert file.read() == before


def test_a_spool_that_cannot_be_made(node: Node) -> None:
    """No spool at all, as on a full disk: words are kept in memory and published all the same."""
    (node.root / "state" / "spool").write_text("a file where the directory belongs")
    node.start()
    node.keepalived()
    wait(lambda: node.bus.words("start"), node)
    node.vrrp("MASTER")
    wait(lambda: states(node) == ["MASTER"], node)
    assert "kept in memory" in node.log


def test_a_fifo_that_was_replaced(running: Node) -> None:
    """Somebody cleans /run: the FIFO is made again, and both it and the old one are heard."""
    fifo = running.root / "run" / "vrrp.fifo"
    old = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    fifo.unlink()
    wait(fifo.exists, running)
    os.write(old, b'INSTANCE "baton-orders" MASTER 254\n')
    wait(lambda: states(running)[-1] == "MASTER", running)
    running.vrrp("FAULT")
    wait(lambda: states(running)[-1] == "FAULT", running)
    os.close(old)


def test_a_damaged_configuration_is_told(node: Node) -> None:
    """A configuration that cannot be used: one line that names it, and exit 4."""
    (node.root / "etc" / "node.json").write_text("{")
    node.start()
    assert node.process is not None and node.process.wait(10) == 4
    assert "node.json is not JSON" in node.log
