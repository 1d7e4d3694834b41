"""Each checker rejects a history that was made by hand to break its guarantee."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest

from chalicelib.model import (
    Attach,
    Attached,
    Command,
    Detach,
    FencePolicy,
    Intent,
    Lease,
    Move,
    Outcome,
    Record,
    Verb,
    Vrrp,
    Word,
)
from chalicelib.progress import Done
from chalicelib.reconcile import Act
from tests.simulation import drivers, physics, store
from tests.simulation.explore import explore
from tests.simulation.moves import begin
from tests.simulation.pool import forget
from tests.simulation.scope import Scope, is_done
from tests.simulation.world import At, Driver, Mail, World

SCOPE = Scope("checkers", "")


@pytest.fixture
def world() -> World:
    """Settled: a has the volume mounted and holds the address."""
    forget()
    return begin(SCOPE)


def _driven(world: World) -> World:
    lease = Lease("d0", world.now + 30)
    return world.with_(record=replace(world.record, lease=lease))


def _persist(world: World, record: Record) -> None:
    store.persist(world, replace(record, version=world.record.version), "d0")


def test_s1_rejects_two_that_have_mounted(world: World) -> None:
    """Both with a device that works."""
    both = (*world.cloud.attachments, At("w", "b", "/dev/sdf", Attached.ATTACHED))
    world = world.with_(cloud=replace(world.cloud, attachments=both))
    world = world.with_host(replace(world.host("b"), mounted=True))
    with pytest.raises(physics.Broken, match=r"^S1: mounted on a and b"):
        physics.check(world)


def test_s2_rejects_a_volume_taken_from_who_has_it_mounted(world: World) -> None:
    """The node is on, and has not released."""
    with pytest.raises(physics.Broken, match=r"^S2"):
        physics.call(world, SCOPE.cluster, Detach("v", "a"))


@pytest.mark.parametrize("change", [{"epoch": 0}, {"owner": "b"}, {"epoch": 2, "owner": "b"}], ids=str)
def test_s3_rejects_epochs_that_shrink_change_hands_or_come_again(
    world: World, change: dict[str, object]
) -> None:
    """An epoch has one owner for ever, and is above all that were ever issued."""
    world = _driven(world)
    issued = replace(world.record, highest_issued=2)
    world = world.with_(record=issued)
    with pytest.raises(physics.Broken, match=r"^S3"):
        _persist(world, replace(issued, **change))  # type: ignore[arg-type]


def test_s4_rejects_a_command_older_than_one_that_was_executed(world: World) -> None:
    """Whatever the node remembers: this is the checker's own memory."""
    host = replace(world.host("a"), executed=5)
    command = Command("a", Verb.RELEASE, 4, host.boot_id, world.now + 20)
    with pytest.raises(physics.Broken, match=r"^S4"):
        physics.deliver(world.with_host(host), Mail("c9", command))


def test_s9_rejects_a_call_that_was_not_recorded(world: World) -> None:
    """The intent is not in the record that was persisted."""
    driver = Driver("d0", taken=True, ends=((Detach("v", "b"),), None, _driven(world).record))
    with pytest.raises(physics.Broken, match=r"^S9"):
        drivers._acted(SCOPE, world, driver, "")


def test_s11_rejects_a_driver_that_acts_without_a_look(world: World) -> None:
    """Nothing was observed in the turn that acts."""
    act = Act((Detach("v", "b"),), _driven(world).record)
    with pytest.raises(physics.Broken, match=r"^S11: d0 acts, and has not looked"):
        drivers._ending(Driver("d0", taken=True), act)


def test_s11_rejects_a_second_call_after_an_unknown_one(world: World) -> None:
    """The volume may be off by now, or not: nobody has looked."""
    first, second = Detach("v", "b"), Attach("v", "a", "/dev/sdf")
    record = replace(_driven(world).record, intents=(Intent(first, 1, 0.0), Intent(second, 1, 0.0)))
    done = (Done(first, Outcome.UNKNOWN, world.now),)
    driver = Driver("d0", taken=True, done=done, ends=((first, second), None, record))
    with pytest.raises(physics.Broken, match=r"^S11: attach v a after a call whose outcome is unknown"):
        drivers._acted(SCOPE, world, driver, "")


def test_s10_rejects_an_address_taken_from_who_serves(world: World) -> None:
    """It has the volume mounted and is on."""
    with pytest.raises(physics.Broken, match=r"^S10"):
        physics.call(world, SCOPE.cluster, Move(("10.0.0.9",), "eni-b", "b"))


def test_s12_rejects_force_where_the_policy_does_not_allow_it(world: World) -> None:
    """The node is on, and the policy says stop."""
    assert SCOPE.cluster.fence is FencePolicy.STOP
    with pytest.raises(physics.Broken, match=r"^S12"):
        physics.call(world, SCOPE.cluster, Detach("v", "a", force=True))


def test_s13_rejects_an_epoch_that_calls_for_ever(world: World) -> None:
    """More calls in one epoch than its resources and their retries explain."""
    world = _driven(world)
    calls = (Intent(Detach("v", "b"), 1, world.now, tries=25),)
    with pytest.raises(physics.Broken, match=r"^S13"):
        _persist(world, replace(world.record, intents=calls))


def test_l1_rejects_a_world_that_never_settles() -> None:
    """The owner hangs for ever, and no fence is allowed."""
    forget()
    settings = (("fence", FencePolicy.NONE),)
    found = explore(Scope("wedged", "a hangs", horizon_seconds=100, settings=settings))
    assert found.broken is not None
    assert found.broken.guarantee == "L1"
    assert found.trace


def test_s5_nobody_else_can_write(world: World) -> None:
    """Another holder, an expired lease, an older version: nothing changes."""
    world = _driven(world)
    record = world.record
    others = world.with_(record=replace(record, lease=Lease("d1", world.now + 30)))
    expired = world.with_(record=replace(record, lease=Lease("d0", world.now)))
    older = world.with_(record=replace(record, version=record.version + 1))
    for changed in (others, expired, older):
        after, kept = store.persist(changed, replace(record, epoch=9, highest_issued=9), "d0")
        assert kept is None
        assert after.record == changed.record


def test_s6_of_two_drivers_one_has_the_lease(world: World) -> None:
    """The second is refused to the last moment, and gets it right after."""
    world, first = store.take(world, world.record, "d0")
    assert first is not None
    assert first.lease is not None
    last = world.with_(now=first.lease.until)
    for moment in (world, last):
        after, second = store.take(moment, moment.record, "d1")
        assert (after, second) == (moment, None)
    _, later = store.take(world.with_(now=first.lease.until + 0.001), first, "d1")
    assert later is not None
    assert later.lease is not None
    assert later.lease.holder == "d1"


def test_s6_a_driver_gives_no_other_drivers_lease_away(world: World) -> None:
    """Its own was over, and somebody took it."""
    world, first = store.take(world, world.record, "d0")
    assert first is not None
    late = world.with_(now=world.now + 31)
    late, second = store.take(late, late.record, "d1")
    assert second is not None
    after, _ = store.give_up(late, first, "d0")
    assert after.record.lease == second.lease


def _with_volume_at(world: World, node: str) -> World:
    at = (At("v", node, "/dev/sdf", Attached.ATTACHED),) if node else ()
    return world.with_(cloud=replace(world.cloud, attachments=at))


STRAYS: dict[str, Callable[[World], World]] = {
    "the address went to another node": lambda w: w.with_(cloud=replace(w.cloud, holder="b")),
    "the address is nowhere": lambda w: w.with_(cloud=replace(w.cloud, holder=None)),
    "the volume is at another node": lambda w: _with_volume_at(w, "b"),
    "the volume is nowhere": lambda w: _with_volume_at(w, ""),
    "the owner has unmounted": lambda w: w.with_host(replace(w.host("a"), mounted=False)),
    "the owner serves another epoch": lambda w: w.with_host(
        replace(w.host("a"), memory=replace(w.host("a").memory, serving=7))
    ),
    "the owner is frozen": lambda w: w.with_host(replace(w.host("a"), hung=True)),
    "keepalived elected another node": lambda w: w.with_host(
        replace(w.host("a"), vrrp=Vrrp.BACKUP)
    ).with_host(replace(w.host("b"), vrrp=Vrrp.MASTER)),
    "two are master": lambda w: w.with_host(replace(w.host("b"), vrrp=Vrrp.MASTER)),
    "the epoch is not settled": lambda w: w.with_(record=replace(w.record, settled=False)),
    "nobody owns it": lambda w: w.with_(record=replace(w.record, owner=None)),
    "a word is on its way": lambda w: physics.publish(w, "b"),
    "somebody drives": lambda w: w.with_driver(Driver("d0")),
}
"""What something late or doubled leaves behind if it moves anything for good."""


@pytest.mark.parametrize("stray", STRAYS)
def test_s7_rejects_a_world_at_rest_that_something_late_has_moved(world: World, stray: str) -> None:
    """Every path must end in a world that is settled by all that can be seen: this one is not."""
    assert is_done(SCOPE, world)
    assert not is_done(SCOPE, STRAYS[stray](world))


def test_s8_whatever_their_order_the_newest_word_of_each_node_stands(world: World) -> None:
    """Late, doubled and reordered: the record is the same."""
    newest = {w.node: w.sequence for w in world.record.words}
    later = newest["a"] + 1
    said = [
        Word("a", state, later + n, "a/1") for n, state in enumerate((Vrrp.FAULT, Vrrp.BACKUP, Vrrp.MASTER))
    ]
    said.append(Word("b", Vrrp.MASTER, newest["b"] - 1, "b/1"))
    for order in permutations([*said, said[1]]):
        after = world
        for word in order:
            after = store.accept(after, word)
        states = {w.node: (w.state, w.sequence) for w in after.record.words}
        assert states == {"a": (Vrrp.MASTER, later + 2), "b": (Vrrp.BACKUP, newest["b"])}


def test_l2_rejects_a_state_without_a_way_out_though_others_have_one() -> None:
    """It settles first, on every path; what comes then leaves no way back, and no fence is allowed."""
    forget()
    settings = (("fence", FencePolicy.NONE),)
    found = explore(
        Scope("wedged later", "a STOP ; settled ; b hangs", horizon_seconds=200, settings=settings)
    )
    assert found.broken is not None
    assert found.broken.guarantee == "L1"
    assert "settled" in found.trace
