"""Instances that take time to start and to stop, and say so on the event bus.

moto starts, stops and terminates at once, whatever the state, and its launched instances have
their root on /dev/sda1 whatever the image says. EC2 goes through pending, stopping and
shutting-down, refuses by state with IncorrectInstanceState, and sends "EC2 Instance
State-change Notification" to the default bus (EC2 user guide, "Instance state changes").
"""

from __future__ import annotations

import copy
from typing import Any

from moto.ec2.models.instances import Instance

from lab.cloud import addresses, volumes
from lab.cloud.errors import Refused
from lab.cloud.world import Request, World

_CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


def run(world: World, request: Request) -> Any:
    """RunInstances."""
    result = request.response.run_instances()
    for instance in result.result.instances:
        for interface in instance.nics.values():
            # What RunInstances creates, termination deletes, unless told otherwise.
            interface.delete_on_termination = True
        _enter(world, instance, "pending")
        _later(world, instance, world.latencies.launch, _finish_launch)
    return result


def start(world: World, request: Request) -> dict[str, Any]:
    """StartInstances."""
    answer = []
    for instance in _named(world, request):
        if instance.state not in ("stopped", "pending", "running"):
            raise _wrong_state(instance, "started")
    for instance in _named(world, request):
        before = copy.copy(instance._state)
        if instance.state == "stopped":
            _enter(world, instance, "pending")
            _later(world, instance, world.latencies.start, _finish_start)
        answer.append(_change(instance, before))
    return {"StartingInstances": answer}


def stop(world: World, request: Request) -> dict[str, Any]:
    """StopInstances. A forced stop overtakes an orderly one that is under way."""
    force = bool(request.parameters.get("Force"))
    skip = bool(request.parameters.get("SkipOsShutdown"))
    answer = []
    for instance in _named(world, request):
        if instance.state not in ("running", "stopping", "stopped"):
            raise _wrong_state(instance, "stopped")
    for instance in _named(world, request):
        before = copy.copy(instance._state)
        if instance.state == "running" or (instance.state == "stopping" and (force or skip)):
            if instance.state == "running":
                _enter(world, instance, "stopping")
            seconds = world.latencies.forced_stop if force or skip else world.latencies.stop
            _later(world, instance, seconds / 2, _Stop(force, skip, seconds / 2))
        answer.append(_change(instance, before))
    return {"StoppingInstances": answer}


def reboot(world: World, request: Request) -> None:
    """RebootInstances: the state stays `running`."""
    for instance in _named(world, request):
        if instance.state != "running":
            raise _wrong_state(instance, "rebooted")
        _later(world, instance, world.latencies.stop / 4, _finish_reboot)


def terminate(world: World, request: Request) -> dict[str, Any]:
    """TerminateInstances."""
    answer = []
    for instance in _named(world, request):
        before = copy.copy(instance._state)
        if instance.state not in ("shutting-down", "terminated"):
            _enter(world, instance, "shutting-down")
            _later(world, instance, world.latencies.terminate, _finish_terminate)
        answer.append(_change(instance, before))
    return {"TerminatingInstances": answer}


def crash(world: World, instance_id: str) -> None:
    """The machine is gone without anyone's call, as on a hardware failure: stopped at once."""
    with world.lock:
        instance = world.ec2.get_instance(instance_id)
        instance.generation = _generation(instance) + 1
    with world.power_locks[instance_id]:
        world.machinery.stop(instance_id, True, True)
    with world.lock:
        _enter(world, instance, "stopped")


class _Stop:
    """The end of a stop: the machine is off first, then EC2 says `stopped`. Never before."""

    def __init__(self, force: bool, skip: bool, rest: float) -> None:
        self.force, self.skip, self.rest = force, skip, rest

    def __call__(self, world: World, instance: Instance) -> None:
        if world.faults.is_stuck("stop", instance.id):
            _later(world, instance, world.latencies.busy_poll, self, same=True)
            return
        world.machinery.stop(instance.id, self.force, self.skip)
        _later(world, instance, self.rest, _finish_stop, same=True)


def _finish_stop(world: World, instance: Instance) -> None:
    with world.lock:
        instance.stop()
        _enter(world, instance, "stopped")


def _finish_launch(world: World, instance: Instance) -> None:
    with world.lock:
        _enter(world, instance, "running")
    world.commands.booted(instance.id)


def _finish_start(world: World, instance: Instance) -> None:
    if world.faults.is_stuck("start", instance.id):
        _later(world, instance, world.latencies.busy_poll, _finish_start, same=True)
        return
    world.machinery.start(instance.id)
    with world.lock:
        instance.start()
        _enter(world, instance, "running")
    volumes.appear(world, instance.id)
    world.commands.booted(instance.id)


def _finish_reboot(world: World, instance: Instance) -> None:
    world.machinery.stop(instance.id, False, False)
    world.machinery.start(instance.id)
    volumes.appear(world, instance.id)
    world.commands.booted(instance.id)


def _finish_terminate(world: World, instance: Instance) -> None:
    world.machinery.stop(instance.id, True, True)
    with world.lock:
        for interface in instance.nics.values():
            addresses.drop_all(world, interface)
        instance.terminate()
        _enter(world, instance, "terminated")


def _named(world: World, request: Request) -> list[Instance]:
    request.response.error_on_dryrun()
    ids: list[str] = list(request.parameters.get("InstanceIds") or [])
    return [world.ec2.get_instance(instance_id) for instance_id in ids]


def _generation(instance: Instance) -> int:
    return int(getattr(instance, "generation", 0))


def _later(world: World, instance: Instance, seconds: float, step: Any, *, same: bool = False) -> None:
    """Do the step then, unless another change of power was begun meanwhile.

    `same`: it continues the change that is under way.
    """
    with world.lock:
        generation = _generation(instance) + (0 if same else 1)
        instance.generation = generation

    def job() -> None:
        with world.power_locks[instance.id]:
            if _generation(instance) == generation:
                step(world, instance)

    world.timeline.after(seconds, job)


def _enter(world: World, instance: Instance, state: str) -> None:
    """Enter a state, and send EC2's event of it if it is a new one."""
    instance._state.name = state
    instance._state.code = _CODES[state]
    if getattr(instance, "told", "") == state:
        return
    instance.told = state
    world.bus.native(
        "aws.ec2",
        "EC2 Instance State-change Notification",
        {"instance-id": instance.id, "state": state},
        [world.arn("ec2", f"instance/{instance.id}")],
    )


def _change(instance: Instance, before: Any) -> dict[str, Any]:
    return {
        "InstanceId": instance.id,
        "CurrentState": {"Code": instance._state.code, "Name": instance._state.name},
        "PreviousState": before,
    }


def _wrong_state(instance: Instance, wanted: str) -> Refused:
    return Refused(
        "IncorrectInstanceState",
        f"The instance '{instance.id}' is not in a state from which it can be {wanted}.",
    )
