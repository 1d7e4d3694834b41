"""Each checker rejects a history that was made by hand to break its guarantee."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.model import (
    Attached,
    Command,
    Detach,
    FencePolicy,
    Intent,
    Lease,
    Move,
    Record,
    Verb,
)
from chalicelib.reconcile import Act
from tests.simulation import drivers, physics
from tests.simulation.explore import explore
from tests.simulation.moves import begin
from tests.simulation.scope import Scope
from tests.simulation.world import At, Driver, Mail, World, forget

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
    physics.persist(world, replace(record, version=world.record.version), "d0")


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
    act = Act((Detach("v", "b"),), _driven(world).record)
    with pytest.raises(physics.Broken, match=r"^S9"):
        drivers._acted(SCOPE, world, Driver("d0", taken=True), act, "")


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
        after, kept = physics.persist(changed, replace(record, epoch=9, highest_issued=9), "d0")
        assert kept is None
        assert after.record == changed.record
