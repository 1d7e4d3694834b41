"""EC2 and SSM: the simulator's and the emulator's do the same, and refuse the same.

A docstring names where AWS, or somebody whom AWS answered so, says what is expected. "EC2 error
codes" is https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.model import (
    Action,
    Attach,
    Attached,
    Detach,
    Fence,
    FencePolicy,
    Move,
    Outcome,
    Power,
    Result,
    Send,
    Start,
    Verb,
)
from tests.contract.ports import (
    DONE,
    Aws,
    Place,
    Told,
    address,
    devices,
    order,
    places,
    power,
    waiting,
)

ATTACHING, ATTACHED, DETACHING = Attached.ATTACHING, Attached.ATTACHED, Attached.DETACHING
F, G = "/dev/sdf", "/dev/sdg"
IN_USE = Told(Outcome.NOT_YET, "VolumeInUse")
NOT_RUNNING = Told(Outcome.NOT_YET, "IncorrectState")
AVAILABLE = Told(Outcome.DONE, "IncorrectState")
NOT_THERE = Told(Outcome.DONE, "InvalidAttachment.NotFound")
WRONG_STATE = Told(Outcome.NOT_YET, "IncorrectInstanceState")


def do(aws: Aws, action: Action) -> Told:
    """What became of an action."""
    return aws.do(action)[0]


def attached(aws: Aws, volume: str, node: str, device: str = F) -> None:
    """A volume that is attached, and nothing under way."""
    assert do(aws, Attach(volume, node, device)) == DONE
    aws.settle()
    assert places(aws, volume) == (Place(node, ATTACHED),)


def stopped(aws: Aws, node: str) -> None:
    """A node that EC2 shows as stopped."""
    assert do(aws, Fence(node)) == DONE
    aws.settle()
    assert power(aws, node) is Power.STOPPED


# ------------------------------------------------------------------------------------ volumes


def test_a_volume_is_attaching_and_then_attached(aws: Aws) -> None:
    """AttachVolume answers before it is done; the attachment's state tells (EC2 API reference,
    VolumeAttachment: attaching, attached, detaching, detached, busy)."""
    (a, _), (volume, other) = aws.cluster.nodes, aws.cluster.volumes
    assert places(aws, volume) == ()
    assert do(aws, Attach(volume, a, F)) == DONE
    assert places(aws, volume) == (Place(a, ATTACHING),)
    aws.settle()
    assert places(aws, volume) == (Place(a, ATTACHED),)
    assert places(aws, other) == ()


def test_a_look_shows_the_device_names_in_use(aws: Aws) -> None:
    """From the call on until the volume is gone, in DescribeInstances' blockDeviceMapping (EBS user
    guide, "Device names for volumes": a name that is in use cannot be chosen)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    assert devices(aws, a) == set()
    do(aws, Attach(volume, a, G))
    assert devices(aws, a) == {G}
    aws.settle()
    do(aws, Detach(volume, a))
    assert devices(aws, a) == {G}
    aws.settle()
    assert devices(aws, a) == devices(aws, b) == set()


@pytest.mark.parametrize("state", [ATTACHING, ATTACHED, DETACHING])
def test_a_volume_in_use_is_not_attached_anywhere_yet(aws: Aws, state: Attached) -> None:
    """VolumeInUse, whatever the state and the node (EC2 error codes; with the message in
    github.com/hashicorp/terraform-provider-aws/issues/8565). Later it may work: not refused."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Attach(volume, a, F))
    if state is not ATTACHING:
        aws.settle()
    if state is DETACHING:
        do(aws, Detach(volume, a))
    for node, device in ((a, F), (a, G), (b, F)):
        assert do(aws, Attach(volume, node, device)) == IN_USE
    assert places(aws, volume) == (Place(a, state),)


def test_a_device_name_that_is_taken_is_refused_for_good(aws: Aws) -> None:
    """InvalidParameterValue "already in use" (github.com/kubermatic/kubeone/pull/2859): it condemns
    that name on that node, and no other."""
    (a, b), (volume, other) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Attach(volume, a, F))
    assert do(aws, Attach(other, a, F)) == Told(Outcome.REFUSED, "device-taken")
    assert places(aws, other) == ()
    assert do(aws, Attach(other, b, F)) == DONE


def test_an_instance_that_is_stopping_takes_no_volume_yet(aws: Aws) -> None:
    """IncorrectState, "is not 'running'" (EC2 error codes;
    github.com/ansible-collections/amazon.aws/pull/497)."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Fence(a))
    assert power(aws, a) is Power.STOPPING
    assert do(aws, Attach(volume, a, F)) == NOT_RUNNING
    assert places(aws, volume) == ()


def test_a_volume_in_use_is_no_riddle_on_an_instance_that_is_stopping(aws: Aws) -> None:
    """Both errors apply: whichever comes, it is "not yet" and nothing happened (EC2 error codes)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, b)
    do(aws, Fence(a))
    assert do(aws, Attach(volume, a, F)) in (IN_USE, NOT_RUNNING)
    assert places(aws, volume) == (Place(b, ATTACHED),)


def test_a_stopped_instance_takes_a_volume(aws: Aws) -> None:
    """EBS user guide, "Attach an EBS volume": to a running or stopped instance (also
    github.com/hashicorp/terraform-provider-aws/issues/1311)."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    stopped(aws, a)
    attached(aws, volume, a)


def test_a_detach_takes_its_time_and_the_volume_is_then_free(aws: Aws) -> None:
    """`detaching` until the host let go (EC2 API reference, DetachVolume). Others stay."""
    (a, b), (volume, other) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    attached(aws, other, a, G)
    assert do(aws, Detach(volume, a)) == DONE
    assert places(aws, volume) == (Place(a, DETACHING),)
    assert do(aws, Detach(volume, a)) == DONE
    aws.settle()
    assert places(aws, volume) == ()
    assert places(aws, other) == (Place(a, ATTACHED),)
    attached(aws, volume, b)


def test_an_attach_under_way_can_be_taken_back(aws: Aws) -> None:
    """A volume stuck in `attaching` is detached (EBS user guide, "Troubleshoot a volume stuck in the
    attaching state"; the EBS CSI driver does so too)."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Attach(volume, a, F))
    assert do(aws, Detach(volume, a)) == DONE
    aws.settle()
    assert places(aws, volume) == ()


@pytest.mark.parametrize("force", [False, True])
def test_a_detach_that_names_the_wrong_instance_changes_nothing(aws: Aws, force: bool) -> None:
    """InvalidAttachment.NotFound (EC2 error codes: "an attempt to detach a volume from an instance
    to which it is not attached"): a late call cannot take a volume from its new owner."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    assert do(aws, Detach(volume, b, force)) == NOT_THERE
    aws.settle()
    assert places(aws, volume) == (Place(a, ATTACHED),)


@pytest.mark.parametrize("force", [False, True])
def test_a_volume_that_is_nowhere_is_detached_already(aws: Aws, force: bool) -> None:
    """IncorrectState, "is in the 'available' state"
    (github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/1801): what was asked for is so."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    assert do(aws, Detach(volume, a, force)) == AVAILABLE
    attached(aws, volume, a)
    do(aws, Detach(volume, a))
    aws.settle()
    assert do(aws, Detach(volume, a, force)) == AVAILABLE


def test_a_mounted_volume_does_not_come_off(aws: Aws) -> None:
    """It stays in `detaching`, or `busy`, until the host unmounts it (EBS user guide, "Detach an EBS
    volume"; github.com/hashicorp/terraform-provider-aws/issues/4770)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    do(aws, Detach(volume, a))
    aws.mount(a)
    aws.settle()
    assert places(aws, volume) == (Place(a, DETACHING),)
    assert do(aws, Attach(volume, b, F)) == IN_USE
    aws.unmount(a)
    aws.settle()
    assert places(aws, volume) == ()


def test_a_forced_detach_asks_nobody(aws: Aws) -> None:
    """Force: the host gets no chance to flush (EC2 API reference, DetachVolume). Baton does it to a
    host that is on only where a person has chosen that policy."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    aws.cluster = replace(aws.cluster, fence=FencePolicy.FORCE_DETACH)
    attached(aws, volume, a)
    aws.mount(a)
    assert do(aws, Detach(volume, a, force=True)) == DONE
    aws.settle()
    assert places(aws, volume) == ()


@pytest.mark.parametrize("force", [False, True])
def test_a_host_that_is_off_lets_go_of_what_it_had_mounted(aws: Aws, force: bool) -> None:
    """And keeps it until it is asked to (EC2 user guide, "Stop and start your instance": EBS volumes
    and private addresses stay with a stopped instance)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    aws.mount(a)
    stopped(aws, a)
    assert places(aws, volume) == (Place(a, ATTACHED),)
    assert do(aws, Detach(volume, a, force)) == DONE
    aws.settle()
    attached(aws, volume, b)


# ---------------------------------------------------------------------------------- addresses


def move(aws: Aws, node: str) -> Move:
    """The address to this node."""
    return Move(aws.cluster.addresses, aws.interface(node), node)


def test_an_address_moves_from_holder_to_holder_in_one_call(aws: Aws) -> None:
    """With AllowReassignment, which every Move carries, an address that another interface holds is
    reassigned (EC2 API reference, AssignPrivateIpAddresses). One interface holds it at a time."""
    a, b = aws.cluster.nodes
    seen = address(aws)
    assert (seen.interface, seen.holder) == (None, "")
    assert dict(seen.targets) == {node: aws.interface(node) for node in (a, b)}
    for node in (a, b, b, a):
        assert do(aws, move(aws, node)) == DONE
        seen = address(aws)
        assert (seen.interface, seen.holder) == (aws.interface(node), node)


def test_a_stopped_instance_keeps_the_address_until_it_is_taken(aws: Aws) -> None:
    """EC2 user guide, "Stop and start your instance": it keeps its private addresses. A secondary
    one can be moved all the same ("Secondary IP addresses": to another instance)."""
    a, b = aws.cluster.nodes
    do(aws, move(aws, a))
    stopped(aws, a)
    assert address(aws).holder == a
    assert set(dict(address(aws).targets)) == {a, b}
    assert do(aws, move(aws, b)) == DONE
    assert address(aws).holder == b
    assert do(aws, move(aws, a)) == DONE
    assert address(aws).holder == a


# -------------------------------------------------------------------------------------- power


def test_a_fenced_node_is_stopping_and_then_stopped(aws: Aws) -> None:
    """`stopping` says nothing of what the host still does; `stopped` does (EC2 user guide, "Instance
    state changes"). StopInstances on what stops or is stopped already is done
    (github.com/stackshy/cloudemu/pull/153)."""
    a, b = aws.cluster.nodes
    for expected in (Power.STOPPING, Power.STOPPED):
        assert do(aws, Fence(a)) == DONE
        assert do(aws, Fence(a)) == DONE
        assert power(aws, a) is Power.STOPPING or expected is Power.STOPPED
        aws.settle()
        assert power(aws, a) is Power.STOPPED
    assert power(aws, b) is Power.RUNNING


def test_a_node_that_is_stopping_cannot_be_started_yet(aws: Aws) -> None:
    """IncorrectInstanceState, "is not in a state from which it can be started" (EC2 error codes;
    github.com/burstable-ai/burst/issues/42)."""
    a, _ = aws.cluster.nodes
    do(aws, Fence(a))
    assert do(aws, Start(a)) == WRONG_STATE
    assert power(aws, a) is Power.STOPPING


def test_a_stopped_node_is_started_with_its_volumes_and_in_another_boot(aws: Aws) -> None:
    """EC2 user guide, "Instance state changes": pending, then running. The simulator's is running at
    once and says its first word later; neither is off."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    stopped(aws, a)
    before = aws.boot(a)
    assert do(aws, Start(a)) == DONE
    assert power(aws, a) in (Power.PENDING, Power.RUNNING)
    aws.settle()
    assert power(aws, a) is Power.RUNNING
    assert aws.boot(a) != before
    assert places(aws, volume) == (Place(a, ATTACHED),)


def test_a_running_node_is_started_already(aws: Aws) -> None:
    """StartInstances is idempotent on its target state (github.com/stackshy/cloudemu/pull/153); the
    boot goes on."""
    a, _ = aws.cluster.nodes
    before = aws.boot(a)
    assert do(aws, Start(a)) == DONE
    aws.settle()
    assert (power(aws, a), aws.boot(a)) == (Power.RUNNING, before)


# ------------------------------------------------------------------------------ calls that fail


@pytest.mark.parametrize("fate", ["throttled", "lost", "unknown"])
def test_only_a_throttled_call_is_known_not_to_have_happened(aws: Aws, fate: str) -> None:
    """RequestLimitExceeded: it did not (EC2 error codes). Unavailable: AttachVolume was seen to
    answer so and to succeed (the EBS CSI driver retries into VolumeInUse), so it may have."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    told, _ = aws.do(Attach(volume, a, F), fate)
    assert told.outcome is (Outcome.NOT_YET if fate == "throttled" else Outcome.UNKNOWN)
    aws.settle()
    assert places(aws, volume) == ((Place(a, ATTACHED),) if fate == "unknown" else ())


# ----------------------------------------------------------------------------------- commands


def test_an_answer_is_absent_until_it_comes(aws: Aws) -> None:
    """Right after SendCommand GetCommandInvocation says InvocationDoesNotExist, then Pending or
    InProgress (Systems Manager user guide, "Understanding command statuses"; SSM API reference,
    GetCommandInvocation). Absent means unknown: never "it has released"."""
    a, _ = aws.cluster.nodes
    command = order(aws, a)
    told, id = aws.do(Send(command))
    assert told == DONE
    assert id
    record = waiting(aws, command, id)
    assert aws.see(record).answers == ()
    aws.run_commands()
    ((of, answer),) = aws.see(record).answers
    assert (of, answer.result) == (id, Result.RELEASED)
    assert answer.word is not None
    assert (answer.word.node, answer.word.highest, answer.word.released) == (a, 3, 2)


def test_a_command_without_an_answer_stays_without_one(aws: Aws) -> None:
    """A lost reply reads as TimedOut even when the command ran
    (github.com/aws/amazon-ssm-agent/issues/316): that is no answer, however long one waits."""
    a, _ = aws.cluster.nodes
    command = order(aws, a)
    _, id = aws.do(Send(command))
    record = waiting(aws, command, id)
    aws.lose_commands()
    assert aws.see(record).answers == ()
    aws.wait(600)
    assert aws.see(record).answers == ()


def test_each_command_has_an_id_and_an_answer_of_its_own(aws: Aws) -> None:
    """SendCommand takes no client token: sent twice it runs twice (SSM API reference, SendCommand).
    What the node refuses is an answer as well."""
    a, b = aws.cluster.nodes
    commands = [order(aws, a, epoch=3), order(aws, a, epoch=3), order(aws, b, Verb.STATUS)]
    ids = [aws.do(Send(command))[1] for command in commands]
    assert len(set(ids)) == len(ids)
    late = order(aws, a, epoch=2)
    aws.run_commands()
    _, last = aws.do(Send(late))
    aws.run_commands()
    told = [
        [(id, answer.result) for id, answer in aws.see(waiting(aws, command, id)).answers]
        for command, id in zip([*commands, late], [*ids, last], strict=True)
    ]
    results = (Result.RELEASED, Result.RELEASED, Result.STATUS, Result.REFUSED)
    assert told == [[(id, result)] for id, result in zip([*ids, last], results, strict=True)]


def test_an_answer_that_is_in_the_record_is_not_asked_for_again(aws: Aws) -> None:
    """One GetCommandInvocation less, of those that SSM throttles (AWS General Reference, "Systems
    Manager endpoints and quotas")."""
    a, _ = aws.cluster.nodes
    command = order(aws, a)
    _, id = aws.do(Send(command))
    record = waiting(aws, command, id)
    aws.run_commands()
    ((_, answer),) = aws.see(record).answers
    (asked,) = record.seats[0].asked
    seat = replace(record.seats[0], asked=(replace(asked, answer=answer),))
    assert aws.see(record.with_seat(seat)).answers == ()


def test_a_node_that_is_off_is_sent_commands_and_answers_none(aws: Aws) -> None:
    """SSM takes commands for a managed node that is stopped, and they stay Pending (SSM API
    reference, SendCommand, InvalidInstanceId: valid states are running, pending, stopping and
    stopped)."""
    a, _ = aws.cluster.nodes
    stopped(aws, a)
    command = order(aws, a)
    told, id = aws.do(Send(command))
    assert told == DONE
    aws.run_commands()
    assert aws.see(waiting(aws, command, id)).answers == ()


@pytest.mark.parametrize("fate", ["throttled", "lost", "unknown"])
def test_a_command_that_may_not_have_gone_out_has_no_id(aws: Aws, fate: str) -> None:
    """ThrottlingException: it did not go out (SSM API reference, "Common errors"). With any other
    failure nobody knows, and without its id its answer cannot be asked for."""
    a, _ = aws.cluster.nodes
    told, id = aws.do(Send(order(aws, a)), fate)
    assert told.outcome is (Outcome.NOT_YET if fate == "throttled" else Outcome.UNKNOWN)
    assert id is None
