"""acquire: wait for the volumes, check, mount, start, and see that it works. Idempotent.

No lock is held while the device or the service is waited for, so that a newer command overtakes;
whether one did is asked again right before each mount and before the epoch counts as served.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from node_hook import devices, duty, epochs, filesystem, health, hold, lift, mounts, units
from node_hook.config import Volume
from node_hook.devices import Device
from node_hook.duty import Refusal
from node_hook.job import Failed, Job, answer, say
from node_hook.leave import let_go

UNDO_SECONDS = 10.0
"""An acquire that failed half way lets go again, beyond its deadline: half served is not served."""

HOLD_SECONDS = 300.0
"""How long a node whose acquire failed stays out of the election, unless a newer command comes: long
enough for a person to look, and it heals by itself when what was missing is there again."""


def acquire(job: Job) -> "dict[str, Any]":
    """Judge, acquire, remember. Raises Failed, Locked, StateError."""
    with job.step("remember"):
        verdict = job.epochs.decide(
            partial(duty.judge, job.order, boot=job.boot, now=time.time(), master=False)
        )
    if isinstance(verdict, Refusal):
        return answer(job, verdict.result, verdict.code, verdict.text)
    try:
        _check_named(job)
        _acquire(job)
    except Failed as failure:
        if failure.result == "refused":
            raise
        _give_up(job, failure)
        raise
    hold.clear(job.paths.hold, "acquire")
    return answer(job, "acquired", "", f"serving epoch {job.order.epoch}")


def _check_named(job: Job) -> None:
    known = {volume.id for volume in job.volumes}
    strange = sorted(set(job.named) - known)
    missing = sorted(known - set(job.named)) if job.named else []
    if strange or missing:
        text = f"the command names {', '.join(job.named) or 'no volume'}, the configuration here"
        raise Failed(
            "configuration",
            f"{text} {', '.join(sorted(known)) or 'none'}: install the newer definition on this node",
        )


def _acquire(job: Job) -> None:
    until = job.order.deadline
    with job.step("wait for device"):
        found = [(volume, _wait(job, volume, until)) for volume in job.volumes]
    say("lock")
    with epochs.work(job.paths, f"acquire, epoch {job.order.epoch}", until):
        for volume, device in found:
            _bring_up(job, volume, device, until)
        with job.step("start"):
            trouble = units.start(job.config.units, until, partial(_is_overtaken, job))
        _make_way(job)
        if trouble:
            raise Failed("units", trouble)
    with job.step("health"):
        trouble = health.until_well(job.config.health, until, partial(_is_overtaken, job))
    _make_way(job)
    if trouble:
        raise Failed("health", trouble)
    _serve(job, until)


def _wait(job: Job, volume: Volume, until: float) -> Device:
    try:
        device = devices.wait(volume, job.paths, until, partial(_is_overtaken, job))
    except devices.Unverified as error:
        raise Failed("unverified", str(error)) from error
    _make_way(job)
    if device is None:
        raise Failed("no-device", f"{volume.id} has not appeared by the deadline")
    return device


def _bring_up(job: Job, volume: Volume, device: Device, until: float) -> None:
    _drop_dead_mount(job, volume)
    if filesystem.mounted_as(job, volume, device):
        return
    with job.step("check"):
        filesystem.identify(volume, device)
        try:
            mended = filesystem.check(volume, device, until, partial(_is_overtaken, job))
        except Failed:
            _make_way(job)
            raise
        if mended:
            job.note(mended)
    with job.step("mount"):
        _make_way(job)
        filesystem.mount(volume, device, until)


def _drop_dead_mount(job: Job, volume: Volume) -> None:
    """What an earlier attachment left when it was pulled hides the place; its device is gone."""
    there = mounts.at(volume.mount, mounts.own(job.paths.proc))
    while there is not None and devices.is_gone(there.device, job.paths):
        codes = mounts.unmount(None, [(there, mounts.MNT_DETACH)], time.time() + 2.0)
        if any(codes.values()):
            raise Failed("mount", f"cannot clear the mount of a pulled device at {volume.mount}")
        job.note(f"cleared the mount of a pulled device at {volume.mount}")
        there = mounts.at(volume.mount, mounts.own(job.paths.proc))


def _serve(job: Job, until: float) -> None:
    """Under the lock: the epoch counts as served, if it still is."""
    with epochs.work(job.paths, f"acquire, epoch {job.order.epoch}", until), job.step("serve"):
        table = mounts.own(job.paths.proc)
        lost = [v.mount for v in job.volumes if mounts.at(v.mount, table) is None]
        _make_way(job)
        if lost:
            raise Failed("mount", f"{', '.join(lost)} was unmounted meanwhile")
        job.epochs.change(partial(duty.after_acquire, job.order))


def _is_overtaken(job: Job) -> bool:
    return job.overtaken(duty.may_mount) is not None


def _make_way(job: Job) -> None:
    refusal = job.overtaken(duty.may_mount)
    if refusal is not None:
        raise Failed(refusal.code, refusal.text, result=refusal.result)


def _give_up(job: Job, failure: Failed) -> None:
    """Mastership first, so that another node is elected meanwhile; then what was half done."""
    try:
        lift.put(job.paths.hold, "acquire", str(failure), HOLD_SECONDS)
    except OSError as error:
        job.note(f"and could not give up mastership: {error}")
    say(f"failed: {failure}; letting go")
    try:
        with epochs.work(job.paths, "undo", time.time() + UNDO_SECONDS):
            if not _is_overtaken(job):
                let_go(job, time.time() + UNDO_SECONDS)
    except (Failed, epochs.Locked) as error:
        job.note(f"and could not let go again: {error}")
