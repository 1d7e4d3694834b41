"""Addresses, power and commands: the simulator's EC2 and SSM do as the emulator's.

A docstring names where AWS, or somebody whom AWS answered so, says what is expected. "EC2 error
codes" is https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.model import (
    Attach,
    Attached,
    Fence,
    Move,
    Outcome,
    Power,
    Result,
    Send,
    Start,
    Verb,
)
from tests.contract.acts import attached, do, stopped
from tests.contract.ports import (
    DONE,
    Aws,
    Place,
    Told,
    address,
    order,
    places,
    power,
    waiting,
)

ATTACHED = Attached.ATTACHED
F = "/dev/sdf"
WRONG_STATE = Told(Outcome.NOT_YET, "IncorrectInstanceState")


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
