"""What EC2 and SSM show and what they are asked, against the lab's AWS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.aws import Cloud as Ec2AndSsm
from chalicelib.aws import Result
from chalicelib.aws_observe import Observer
from chalicelib.model import (
    Action,
    Asked,
    Attach,
    Cluster,
    Command,
    Detach,
    Fence,
    Move,
    Observation,
    Outcome,
    Power,
    Record,
    Seat,
    Send,
    Start,
    Verb,
    Vrrp,
    Word,
)
from chalicelib.together import Together
from lab.cloud import Cloud
from lab.cloud.building import Net, Node
from tests.orchestrator.nodes import Host, Hosts

GHOST = "i-0123456789abcdef0"
LOST = "vol-0123456789abcdef0"


class Scene:
    """Two nodes and a volume in the lab's AWS, with what Baton sees and does there."""

    def __init__(self, cloud: Cloud, nodes: tuple[Node, Node], volume: str) -> None:
        self.cloud = cloud
        self.a, self.b = nodes
        self.volume = volume
        self.cluster = Cluster("orders", (self.a.id, self.b.id), (volume,), ("10.9.0.100",))
        self.ours = Ec2AndSsm(cloud.client("ec2"), cloud.client("ssm"), "unit")
        self.observer = Observer(self.ours)
        self.now = time.time()

    def do(self, action: Action) -> Result:
        """What became of the action."""
        return self.ours.perform(self.cluster, action)

    def see(self, cluster: Cluster | None = None, record: Record | None = None) -> Observation:
        """One look."""
        watched = cluster or self.cluster
        seen = record or Record(watched.name)
        with Together() as together:
            return self.observer.observe({watched.name: (watched, seen)}, self.now, together)[watched.name]

    def until(self, holds: Callable[[Observation], bool]) -> Observation:
        """Look until something is seen."""
        seen: list[Observation] = []

        def look() -> bool:
            seen.append(self.see())
            return holds(seen[-1])

        self.cloud.until(look, 10)
        return seen[-1]

    def held(self, node: str) -> Callable[[Observation], bool]:
        """Whether a look shows the address on this node."""
        return lambda seen: seen.addresses[0].holder == node

    def attached(self, volume: str, node: str) -> Callable[[Observation], bool]:
        """Whether a look shows the volume attached there and nowhere else."""
        return lambda seen: (
            [(a.node, a.state) for v in seen.volumes if v.volume == volume for a in v.attachments]
            == [(node, "attached")]
        )


@pytest.fixture
def hosts(cloud: Cloud) -> Hosts:
    """Machines of this test."""
    made = Hosts()
    cloud.use(made)
    return made


@pytest.fixture
def scene(cloud: Cloud, net: Net, hosts: Hosts) -> Iterator[Scene]:
    """Two running nodes and a volume that is nowhere."""
    a, b = (cloud.launch(net, name, wait=False) for name in ("a", "b"))
    for node in (a, b):
        hosts.add(Host(node.id))
    cloud.until(lambda: {cloud.state(a.id), cloud.state(b.id)} == {"running"})
    yield Scene(cloud, (a, b), cloud.volume())
    cloud.client("ec2").terminate_instances(InstanceIds=[a.id, b.id])
    cloud.until(lambda: {cloud.state(a.id), cloud.state(b.id)} == {"terminated"})


def test_a_volume_and_an_address_go_from_node_to_node(scene: Scene) -> None:
    """Attach, move, detach: each is done, is seen to be done, and tells of no stranger."""
    seen = scene.see()
    assert [(i.node, i.power) for i in seen.instances] == [
        (scene.a.id, Power.RUNNING),
        (scene.b.id, Power.RUNNING),
    ]
    assert "/dev/xvda" in seen.instances[0].devices or "/dev/sda1" in seen.instances[0].devices
    (address,) = seen.addresses
    assert (address.interface, address.holder) == (None, "")
    assert dict(address.targets) == {n.id: n.interface for n in (scene.a, scene.b)}
    for node in (scene.a, scene.b):
        assert scene.do(Attach(scene.volume, node.id, "/dev/sdf")).outcome is Outcome.DONE
        scene.until(scene.attached(scene.volume, node.id))
        move = Move(("10.9.0.100",), node.interface, node.id)
        assert scene.do(move).outcome is Outcome.DONE
        (address,) = scene.until(scene.held(node.id)).addresses
        assert address.interface == node.interface
        instance = scene.see().instance(node.id)
        assert instance is not None
        assert "/dev/sdf" in instance.devices
        assert scene.do(Detach(scene.volume, node.id)).outcome is Outcome.DONE
        scene.until(lambda s: s.volumes[0].attachments == ())


def test_what_is_so_already_or_not_yet_possible_is_told_from_refusal(scene: Scene) -> None:
    """Detach from nobody is done; attach of a volume in use may come later."""
    assert scene.do(Detach(scene.volume, scene.a.id)) == Result(Outcome.DONE, "IncorrectState")
    scene.do(Attach(scene.volume, scene.a.id, "/dev/sdf"))
    in_use = scene.do(Attach(scene.volume, scene.b.id, "/dev/sdf"))
    assert in_use == Result(Outcome.NOT_YET, "VolumeInUse")
    scene.until(scene.attached(scene.volume, scene.a.id))
    other = scene.do(Detach(scene.volume, scene.b.id))
    assert other == Result(Outcome.DONE, "InvalidAttachment.NotFound")
    assert scene.attached(scene.volume, scene.a.id)(scene.see())
    second = scene.cloud.volume()
    taken = scene.do(Attach(second, scene.a.id, "/dev/sdf"))
    assert taken == Result(Outcome.REFUSED, "device-taken")


def test_only_what_ec2_says_does_not_exist_is_missing(scene: Scene) -> None:
    """One id that is unknown does not hide the others; the rest of the look is whole."""
    cluster = Cluster("orders", (scene.a.id, GHOST), (LOST, scene.volume), ())
    seen = scene.see(cluster)
    assert [(v.volume, v.exists) for v in seen.volumes] == [(LOST, False), (scene.volume, True)]
    assert seen.power(scene.a.id) is Power.RUNNING
    assert seen.power(GHOST) is Power.TERMINATED


def test_an_instance_that_spoke_lately_is_not_gone_because_a_read_says_so(scene: Scene) -> None:
    """Reads can go back in time, and a fresh instance is not known everywhere at once."""
    cluster = Cluster("orders", (GHOST,), (), ())
    for age, power in ((60, Power.UNKNOWN), (3600, Power.TERMINATED)):
        said = Word(GHOST, Vrrp.MASTER, int((scene.now - age) * 1000), "boot")
        assert scene.see(cluster, Record("orders", words=(said,))).power(GHOST) is power


@pytest.mark.parametrize(
    ("operation", "gone"),
    [
        ("DescribeVolumes", "volumes"),
        ("DescribeInstances", "instances"),
        ("DescribeNetworkInterfaces", "addresses"),
    ],
)
def test_what_could_not_be_read_is_absent_and_nothing_else(scene: Scene, operation: str, gone: str) -> None:
    """A throttled Describe shows nothing; it does not show that there is nothing."""
    scene.cloud.faults.throttle(operation)
    seen = scene.see()
    shown = {"volumes": seen.volumes, "instances": seen.instances, "addresses": seen.addresses}
    assert {name for name, views in shown.items() if not views} == {gone}
    assert scene.see().volumes


def test_a_call_that_was_throttled_or_lost_is_classified(scene: Scene) -> None:
    """Throttled: not yet. An answer that is lost: unknown, and here it did happen."""
    attach = Attach(scene.volume, scene.a.id, "/dev/sdf")
    scene.cloud.faults.throttle("AttachVolume")
    assert scene.do(attach).outcome is Outcome.NOT_YET
    scene.cloud.faults.fail("AttachVolume", "Unavailable", applied=True)
    assert scene.do(attach).outcome is Outcome.UNKNOWN
    scene.until(scene.attached(scene.volume, scene.a.id))


def test_only_members_are_fenced_and_with_the_plug_pulled(scene: Scene, hosts: Hosts) -> None:
    """Stop by force without the operating system; started again; a stranger is never stopped."""
    stranger = Fence(GHOST)
    assert scene.do(stranger) == Result(Outcome.REFUSED, "not-a-member")
    assert scene.do(Fence(scene.a.id)).outcome is Outcome.DONE
    scene.until(lambda seen: seen.power(scene.a.id) is Power.STOPPED)
    assert hosts.power == [(scene.a.id, "pulled")]
    assert scene.do(Start(scene.a.id)).outcome is Outcome.DONE
    scene.until(lambda seen: seen.power(scene.a.id) is Power.RUNNING)


def sent(scene: Scene, verb: Verb, boot: str = "boot-1") -> tuple[Asked, Record]:
    """A command that was sent to `a`, and the record that waits for its answer."""
    command = Command(scene.a.id, verb, 3, boot, time.time() + 20, volumes=(scene.volume,))
    result = scene.do(Send(command))
    assert result.outcome is Outcome.DONE
    asked = Asked(command, scene.now, id=result.id, outcome=result.outcome)
    return asked, Record("orders", seats=(Seat(scene.a.id, asked=(asked,)),))


def test_an_answer_is_heard_once_it_is_there(scene: Scene, hosts: Hosts) -> None:
    """While it is under way nothing is known; then the answer with the word that it carries."""
    hosts.hosts[scene.a.id].agent = False
    asked, record = sent(scene, Verb.RELEASE)
    assert scene.see(record=record).answers == ()
    hosts.hosts[scene.a.id].agent = True
    scene.cloud.until(lambda: scene.see(record=record).answers != (), 10)
    ((id, answer),) = scene.see(record=record).answers
    assert (id, answer.result) == (asked.id, "released")
    assert answer.word is not None
    assert (answer.word.node, answer.word.highest, answer.word.released) == (scene.a.id, 3, 2)


@pytest.mark.parametrize(("status", "output"), [("Success", "Killed"), ("TimedOut", "{}"), ("Cancelled", "")])
def test_what_a_node_did_not_answer_is_no_answer(
    scene: Scene, hosts: Hosts, status: str, output: str
) -> None:
    """The command is over, and yet nothing is known of the node."""
    hosts.script = lambda given: (status, output)
    _, record = sent(scene, Verb.STATUS)
    wait_for_end(scene, record)
    assert scene.see(record=record).answers == ()


def wait_for_end(scene: Scene, record: Record) -> None:
    """Until SSM says that the command is over."""
    asked = record.seats[0].asked[0]
    by: dict[str, Any] = {"CommandId": asked.id, "InstanceId": asked.command.node}

    def over() -> bool:
        client = scene.cloud.client("ssm")
        try:
            status = client.get_command_invocation(**by)["Status"]
        except client.exceptions.InvocationDoesNotExist:
            return False
        return bool(status not in ("Pending", "InProgress"))

    scene.cloud.until(over, 10)
