"""Each verdict accepts a good hand-over and rejects a history, made by hand, that breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.demo import verdicts
from lab.demo.evidence import Delivery, Evidence, Write
from lab.demo.verdicts import Verdict
from tests.demo_verdicts.histories import ADDRESS, V, W, ec2, handover, history, look, mount


def test_a_good_handover_satisfies_every_verdict_and_each_looked_at_something() -> None:
    for verdict in verdicts.judge(handover()):
        assert verdict.holds, verdict.text
        assert verdict.checked > 0


BOTH = (mount("a"), mount("a", W))

REJECTED: dict[str, tuple[Evidence, str]] = {
    "S1: two nodes have a live mount": (
        history(ec2(0, "a"), look(0, mount("a"), mount("b"))),
        "S1",
    ),
    "S1: nobody looked for a while": (
        history(ec2(0, "a"), look(0, mount("a")), look(60, mount("a"))),
        "S1",
    ),
    "S2: the volume was moved while mounted": (
        history(ec2(0, "a"), look(0, mount("a")), ec2(1, "b", "a"), look(2, mount("a"))),
        "S2",
    ),
    "S2: the volume was forced off and its device is dead": (
        history(ec2(0, "a"), look(0, mount("a")), ec2(1, None, "a"), look(2, mount("a", live=False))),
        "S2",
    ),
    "S4: the file on the disk went back": (
        history(look(0, epochs={"a": 3}), look(1, epochs={"a": 2})),
        "S4",
    ),
    "S4: a mount for an older epoch than one released": (
        history(
            ec2(0, "a"),
            Delivery(0.0, "a", "acquire", 2),
            look(1, epochs={"a": 3}),
            look(2, mount("a"), epochs={"a": 3}),
        ),
        "S4",
    ),
    "S10: the address left a node that still had the volume": (
        history(
            ec2(0, "a"), look(0, mount("a")), ec2(1, "a", "b"), look(1.1, mount("a")), look(1.2, mount("a"))
        ),
        "S10",
    ),
    "S14: an acknowledged write is missing": (
        history(Write(1, 0.1, 0.2), Write(2, 0.3, 0.4), kept=frozenset({1})),
        "S14",
    ),
    "S14: nobody has the files": (history(Write(1, 0.1, 0.2), kept=None), "S14"),
    "L1: nobody is MASTER": (
        history(ec2(0, "a"), look(0, mount("a"), mount("a", W))),
        "L1",
    ),
    "L1: two are MASTER": (
        history(ec2(0, "a"), replace(look(0, *BOTH), addresses={"a": (ADDRESS,), "b": (ADDRESS,)})),
        "L1",
    ),
    "L1: the address is elsewhere": (
        history(ec2(0, "a", "b"), look(0, mount("a"), mount("a", W), master="a")),
        "L1",
    ),
    "L1: the owner is being stopped": (
        history(ec2(0, "a", a="stopping"), look(0, *BOTH, master="a")),
        "L1",
    ),
    "L1: one volume is not mounted": (
        history(ec2(0, "a"), look(0, mount("a"), master="a")),
        "L1",
    ),
    "L1: the client is not served": (
        replace(history(ec2(0, "a"), look(0, *BOTH, master="a"), Write(1, 0.1, 0.2)), ended=60.0),
        "L1",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_history_that_breaks_the_guarantee_is_rejected(name: str) -> None:
    seen, guarantee = REJECTED[name]
    (verdict,) = [v for v in verdicts.judge(seen) if v.name == guarantee]
    assert not verdict.holds
    assert verdict.broken[0]


def accepted(seen: Evidence, guarantee: str) -> Verdict:
    """The verdict of this name."""
    return next(v for v in verdicts.judge(seen) if v.name == guarantee)


def test_a_dead_mount_on_a_host_that_ec2_says_is_stopped_breaks_nothing() -> None:
    seen = history(
        ec2(0, "a"),
        look(0, mount("a")),
        ec2(1, "b", a="stopped"),
        look(2, mount("a", live=False), mount("b")),
    )
    assert accepted(seen, "S1").holds
    assert accepted(seen, "S2").holds


def test_a_volume_mounted_while_the_other_is_dead_is_one_live_mount() -> None:
    assert accepted(history(look(0, mount("a", live=False), mount("b"))), "S1").holds


def test_what_is_mounted_at_the_first_look_needs_no_acquire() -> None:
    seen = history(look(0, mount("a"), epochs={"a": 3}), look(1, mount("a"), epochs={"a": 3}))
    assert accepted(seen, "S4").holds


def test_the_address_may_leave_a_node_that_is_off() -> None:
    seen = history(
        ec2(0, "a"), look(0, mount("a")), ec2(1, "a", "b", a="stopped"), look(1.1, mount("a")), look(1.2)
    )
    assert accepted(seen, "S10").holds


def test_the_new_owner_may_mount_before_the_address_reaches_it() -> None:
    seen = history(ec2(0, "b", "a"), look(0, mount("b")), ec2(1, "b", "b"), look(1.1, mount("b")))
    assert accepted(seen, "S10").holds


def test_an_unacknowledged_write_may_be_missing_or_kept() -> None:
    assert accepted(history(Write(1, 0.1, 0.2), Write(2, 0.3), kept=frozenset({1})), "S14").holds
    assert accepted(history(Write(1, 0.1, 0.2), Write(2, 0.3), kept=frozenset({1, 2})), "S14").holds


def test_many_violations_are_told_in_a_few_lines() -> None:
    seen = history(*[look(float(at), mount("a", V), mount("b", V)) for at in range(10)])
    assert len(accepted(seen, "S1").broken) == verdicts.TEXTS_MOST + 1
