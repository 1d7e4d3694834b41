"""What a node does with commands that come late, twice or in another order than they were sent.

SSM delivers a story's commands in order. Here they are put before a node of the simulated world, and
the state of that node is looked at: is it mounted, and what does it serve.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.model import Answer, Attached, Code, Command, Result, Verb, Vrrp
from node_hook import devices, duty
from node_hook.config import Volume
from node_hook.paths import Paths
from tests.simulation import physics
from tests.simulation.moves import begin
from tests.simulation.pool import forget
from tests.simulation.scope import Scope
from tests.simulation.world import Mail, World


@pytest.fixture
def world() -> World:
    """Settled: a serves epoch 1, b stands by."""
    forget()
    return begin(Scope("nodes", ""))


def run(world: World, verb: Verb, epoch: int, node: str = "a", **more: object) -> World:
    """The node's agent runs a command; an Acquire goes as far as its device, which is there."""
    command = Command(node, verb, epoch, world.host(node).boot_id, world.now + 20)
    command = replace(command, **more)  # type: ignore[arg-type]
    at = world.cloud.attachments[0]._replace(node=node, state=Attached.ATTACHED)
    world = world.with_(cloud=replace(world.cloud, attachments=(at,)))
    return physics.deliver(world, Mail("c9", command))


def mount(world: World, node: str = "a") -> World:
    """The Acquire that waits on this node asks once more, and mounts."""
    return physics.mount(world, world.host(node))


def answer(world: World) -> Answer:
    """What the node answered to the last of these commands."""
    return dict(world.cloud.answers)["c9"]


def serving(world: World, node: str = "a") -> int | None:
    """The epoch that it serves, None if nothing is mounted."""
    host = world.host(node)
    return host.memory.serving if host.mounted else None


def test_a_release_of_an_older_epoch_takes_nothing_away(world: World) -> None:
    """Epoch 3 is served; the Release of epoch 2 comes only now."""
    world = mount(run(run(world, Verb.RELEASE, 3), Verb.ACQUIRE, 3))
    late = run(world, Verb.RELEASE, 2)
    assert (serving(late), answer(late).code) == (3, Code.OLDER_EPOCH)


def test_an_executed_command_is_remembered(world: World) -> None:
    """A challenge of epoch 3 released; an Acquire of epoch 2, which was never promised away, is old."""
    world = world.with_host(replace(world.host("b"), memory=duty.Memory()))
    world = run(world, Verb.ACQUIRE, 3, "b")
    assert world.host("b").memory.highest == 3
    other = run(world, Verb.ACQUIRE, 2, "b")
    assert (other.host("b").acquiring, answer(other).code) == (world.host("b").acquiring, Code.OLDER_EPOCH)


def test_an_acquire_that_waits_is_overtaken_by_one_of_a_newer_epoch(world: World) -> None:
    """Two of them wait for the device; the older one finds it first."""
    world = run(world, Verb.ACQUIRE, 2, "b")
    older = world.host("b").acquiring
    world = run(world, Verb.ACQUIRE, 3, "b")
    world = mount(world.with_host(replace(world.host("b"), acquiring=older)), "b")
    assert (serving(world, "b"), answer(world).code) == (None, Code.OVERTAKEN)


def test_an_acquire_that_waits_is_overtaken_by_the_nodes_own_release(world: World) -> None:
    """The node shuts down in order, and its device comes at the last moment."""
    world = run(world, Verb.ACQUIRE, 2, "b")
    host = world.host("b")
    world = mount(world.with_host(replace(host, memory=duty.after_local_release(host.memory))), "b")
    assert (serving(world, "b"), answer(world).code) == (None, Code.OVERTAKEN)


def test_what_a_node_has_promised_away_it_does_not_acquire(world: World) -> None:
    """It released by itself in epoch 2, and has said so: the Acquire of epoch 2 comes afterwards."""
    host = world.host("b")
    promised = duty.after_local_release(duty.Memory(highest=2))
    world = run(world.with_host(replace(host, memory=promised)), Verb.ACQUIRE, 2, "b")
    assert (world.host("b").acquiring, answer(world).code) == (None, Code.OLDER_EPOCH)


def test_an_acquire_past_its_deadline_is_left(world: World) -> None:
    """The volume may belong to another by now."""
    world = run(world, Verb.ACQUIRE, 2, "b", deadline=world.now - 1)
    assert (world.host("b").acquiring, answer(world).code) == (None, Code.PAST_DEADLINE)


def test_a_release_that_is_run_again_leaves_what_was_acquired_since(world: World) -> None:
    """The agent runs it again after a restart, long after its deadline."""
    world = mount(run(run(world, Verb.RELEASE, 3), Verb.ACQUIRE, 3))
    late = run(world, Verb.RELEASE, 3, deadline=world.now - 1)
    assert (serving(late), answer(late).code) == (3, Code.PAST_DEADLINE)


def test_a_release_of_the_epoch_that_is_served_is_executed_in_its_time(world: World) -> None:
    """An Acquire of that epoch failed half-way, or a volume of it is to be mended."""
    assert serving(run(world, Verb.RELEASE, 1)) is None


def test_a_release_that_comes_late_is_executed_if_it_is_newer(world: World) -> None:
    """Nobody is hurt by one that comes after its deadline, and Baton may still wait for it."""
    assert serving(run(world, Verb.RELEASE, 2, deadline=world.now - 1)) is None


def test_an_absurd_epoch_shuts_nobody_out(world: World) -> None:
    """It is a mistake or an attack: the next honest command is executed."""
    absurd = run(world, Verb.RELEASE, 2 + duty.ABSURD_JUMP)
    assert (serving(absurd), answer(absurd).code) == (1, Code.ABSURD_EPOCH)
    assert serving(run(absurd, Verb.RELEASE, 2)) is None


def test_an_epoch_that_is_none_is_refused(world: World) -> None:
    """A node that remembers nothing would execute it, and serve an epoch that says nothing."""
    empty = world.with_host(replace(world.host("b"), memory=duty.Memory()))
    after = run(empty, Verb.ACQUIRE, 0, "b", deadline=world.now + 1)
    assert answer(after).code is Code.ABSURD_EPOCH


def test_a_hand_over_of_an_older_epoch_takes_mastership_from_nobody(world: World) -> None:
    """An agent runs it again when its node has become the owner anew."""
    world = mount(run(run(world, Verb.RELEASE, 3), Verb.ACQUIRE, 3))
    late = run(world, Verb.HANDOVER, 1)
    assert (late.host("a").vrrp, answer(late).result) == (Vrrp.MASTER, Result.REFUSED)


def test_a_link_that_points_at_another_volume_is_not_trusted(tmp_path: Path) -> None:
    """Udev made it before the devices were named anew: the serial number is what counts."""
    disk = tmp_path / "sys" / "nvme1n1" / "device"
    disk.mkdir(parents=True)
    (disk / "serial").write_text("vol0another\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvme1n1").touch()
    links = tmp_path / "by-id"
    links.mkdir()
    (links / "nvme-Amazon_Elastic_Block_Store_vol0ours").symlink_to(tmp_path / "dev" / "nvme1n1")
    paths = Paths(dev=str(tmp_path / "dev"), by_id=str(links), sys_block=str(tmp_path / "sys"))
    with pytest.raises(devices.Unverified, match="not trusted"):
        devices.find(Volume("vol-0ours", "/srv", "xfs"), paths)
