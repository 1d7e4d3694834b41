"""prepare: format a volume that is blank, and only one that is blank.

The only thing here that can destroy data, so it trusts nothing: the serial is verified, blkid must
find no signature at all, and nothing may be using the device.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from node_hook import children, devices, epochs, filesystem
from node_hook.config import Volume
from node_hook.devices import Device
from node_hook.job import Failed, Job, answer

PREPARE_SECONDS = 600.0
"""mkfs of a large volume that was restored from a snapshot reads slowly."""

APPEAR_SECONDS = 10.0
"""The kernel and udev show a new partition within a second."""


def prepare(job: Job, partition: bool) -> "dict[str, Any]":
    """Format the named volumes. Raises Failed before anything is changed, if it must not be."""
    until = job.order.deadline or time.time() + PREPARE_SECONDS
    with epochs.work(job.paths, "prepare", until):
        found = [(volume, _blank(job, volume, partition)) for volume in _named(job)]
        for volume, device in found:
            with job.step("format"):
                if volume.partition is not None:
                    device = _partition(job, volume, device, until)
                _format(volume, device, until)
    names = ", ".join(f"{v.id} ({v.filesystem}, for {v.mount})" for v, _ in found)
    return answer(job, "status", "", f"formatted {names}")


def _named(job: Job) -> "list[Volume]":
    known = {volume.id: volume for volume in job.volumes}
    strange = [name for name in job.named if name not in known]
    if strange:
        raise Failed("configuration", f"{', '.join(strange)} is not in this node's configuration")
    return [known[name] for name in job.named]


def _blank(job: Job, volume: Volume, partition: bool) -> Device:
    """The whole disk, verified to be the volume and blank."""
    if (volume.partition is not None) != partition:
        wants = f"partition {volume.partition}" if volume.partition else "the whole disk"
        text = f"the configuration means {wants} of {volume.id}: use --partitioned for a partition only"
        raise Failed("configuration", text, result="refused")
    try:
        device = devices.find(replace(volume, partition=None), job.paths)
    except devices.Unverified as error:
        raise Failed("unverified", str(error), result="refused") from error
    if device is None:
        raise Failed("no-device", f"{volume.id} is not attached to this node")
    if devices.in_use(device, time.time() + 5.0):
        raise Failed("busy", f"{volume.id} is in use", result="refused")
    signature = filesystem.probe(device)
    if signature:
        what = signature.get("TYPE") or signature.get("PTTYPE") or "a signature"
        text = f"{volume.id} is not blank ({what}): if it may be lost, clear it with wipefs by hand"
        raise Failed("", text, result="refused")
    return device


def _partition(job: Job, volume: Volume, disk: Device, until: float) -> Device:
    """One partition over the whole disk."""
    script = f"printf 'label: gpt\\n{volume.partition} : type=linux\\n' | sfdisk --quiet {disk.path}"
    _run(["/bin/sh", "-c", script], until, f"cannot partition {volume.id}")
    # sfdisk asks the kernel to read the table; a kernel without support for GPT is told by partx.
    children.run(["partx", "--update", disk.path], time.time() + 5.0)
    found = devices.wait(volume, job.paths, min(until, time.time() + APPEAR_SECONDS))
    if found is None:
        raise Failed("no-device", f"partition {volume.partition} of {volume.id} does not appear")
    return found


def _format(volume: Volume, device: Device, until: float) -> None:
    argv = [f"mkfs.{volume.filesystem}", "-q"]
    if volume.uuid:
        argv += ["-U", volume.uuid] if volume.filesystem == "ext4" else ["-m", f"uuid={volume.uuid}"]
    _run([*argv, device.path], until, f"cannot format {volume.id}")


def _run(argv: "list[str]", until: float, what: str) -> None:
    ended = children.run(argv, until, bound=True)
    if ended.code != 0:
        reason = f"{argv[0]} is not installed" if ended.code == 127 else ended.output.strip()[-300:]
        raise Failed("mount", f"{what}: {reason or 'no end by the deadline'}")
