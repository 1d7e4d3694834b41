"""EBS attachments as EC2 has them.

moto attaches a volume that is in use, in another zone, on a taken device name or to a
terminated instance, detaches it from the wrong one, and does all of it at once (measured with
moto 5.2.5). EC2 refuses with the codes below (EC2 API reference, "Error codes"; the EBS CSI
driver's pkg/cloud/cloud.go tells them apart) and takes 1-4 s. A volume that is still mounted
stays `busy`, which only DescribeVolumes shows (EBS user guide, "Detach an EBS volume").
"""

from __future__ import annotations

import re
from typing import Any

from moto.ec2.models.elastic_block_store import Volume, VolumeAttachment
from moto.ec2.models.instances import Instance

from lab.cloud.errors import Refused
from lab.cloud.world import Request, World

_DEVICE = re.compile(r"/dev/(sd[a-z]\d{0,2}|xvd[a-z]{1,2}\d{0,2})|(sd|xvd)[a-z]{1,2}")


def attach(world: World, request: Request) -> dict[str, Any]:
    """AttachVolume."""
    wanted = request.parameters
    request.response.error_on_dryrun()
    device = str(wanted["Device"])
    volume = world.ec2.get_volume(wanted["VolumeId"])
    instance = world.ec2.get_instance(wanted["InstanceId"])
    _may_attach(world, volume, instance, device)
    world.ec2.attach_volume(volume.id, instance.id, device)
    attachment = volume.attachment
    assert attachment is not None
    _set_state(attachment, "attaching")
    world.timeline.after(world.latencies.attach, lambda: _finish_attach(world, attachment))
    return _described(attachment)


def detach(world: World, request: Request) -> dict[str, Any]:
    """DetachVolume. Without InstanceId it detaches from wherever the volume is."""
    wanted = request.parameters
    request.response.error_on_dryrun()
    volume = world.ec2.get_volume(wanted["VolumeId"])
    attachment = volume.attachment
    if attachment is None:
        raise Refused("IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
    _may_detach(attachment, wanted.get("InstanceId"), wanted.get("Device"))
    force = bool(wanted.get("Force"))
    if attachment.status in ("detaching", "busy"):
        attachment.force = attachment.force or force
        return _described(attachment)
    attachment.force = force
    _set_state(attachment, "detaching")
    world.timeline.after(world.latencies.detach, lambda: _finish_detach(world, attachment))
    return _described(attachment)


def appear(world: World, instance_id: str) -> None:
    """After a start: every volume that is attached shows up in the host again."""
    with world.lock:
        there = [
            (volume.id, volume.attachment.device)
            for volume in world.ec2.volumes.values()
            if _data_volume_on(volume, instance_id)
        ]
    for volume_id, device in there:
        with world.volume_locks[volume_id]:
            world.machinery.attach(instance_id, volume_id, device)


def _data_volume_on(volume: Volume, instance_id: str) -> bool:
    attachment = volume.attachment
    return (
        attachment is not None
        and attachment.instance.id == instance_id
        and attachment.status == "attached"
        and attachment.device != attachment.instance.root_device_name
    )


def _may_attach(world: World, volume: Volume, instance: Instance, device: str) -> None:
    state = instance.state
    if state not in ("running", "stopped"):
        raise Refused("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.availability_zone != instance.availability_zone:
        raise Refused(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    if volume.attachment is not None:
        raise Refused("VolumeInUse", f"{volume.id} is already attached to an instance")
    if not _DEVICE.fullmatch(device):
        raise Refused(
            "InvalidParameterValue",
            f"Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name.",
        )
    if device in instance.block_device_mapping:
        raise Refused(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )
    if len(instance.block_device_mapping) >= world.settings.volumes_most:
        raise Refused("AttachmentLimitExceeded", f"{instance.id} has as many volumes as its type allows")


def _may_detach(attachment: VolumeAttachment, instance: str | None, device: str | None) -> None:
    volume = attachment.volume.id
    holder: Instance = attachment.instance
    if (instance and instance != holder.id) or (device and device != attachment.device):
        raise Refused(
            "InvalidAttachment.NotFound",
            f"The volume '{volume}' is not attached to instance '{instance or holder.id}'"
            + (f" as device '{device}'" if device else ""),
        )
    if attachment.device == holder.root_device_name and holder.state != "stopped":
        raise Refused(
            "OperationNotPermitted",
            f"Unable to detach root volume '{attachment.device}' from instance '{holder.id}'",
        )


def _finish_attach(world: World, attachment: VolumeAttachment) -> None:
    volume, instance = attachment.volume.id, attachment.instance
    if world.faults.is_stuck("attach", volume):
        _again(world, lambda: _finish_attach(world, attachment))
        return
    with world.volume_locks[volume]:
        if not _stands(world, attachment, "attaching") or _attached_while_off(world, attachment):
            return
        world.machinery.attach(instance.id, volume, attachment.device)
        with world.lock:
            if _stands(world, attachment, "attaching"):
                _set_state(attachment, "attached")


def _attached_while_off(world: World, attachment: VolumeAttachment) -> bool:
    """A host that is off gets no device now: it appears at the start. Decided and done under the
    lock that the start takes, so that one of the two sees the other."""
    with world.lock:
        if attachment.instance.state == "running":
            return False
        _set_state(attachment, "attached")
        return True


def _finish_detach(world: World, attachment: VolumeAttachment) -> None:
    volume, instance = attachment.volume.id, attachment.instance
    if not _stands(world, attachment, "detaching", "busy"):
        return
    if world.faults.is_stuck("detach", volume):
        _again(world, lambda: _finish_detach(world, attachment))
        return
    with world.volume_locks[volume]:
        if not _stands(world, attachment, "detaching", "busy"):
            return
        off = instance.state in ("stopped", "terminated")
        force = bool(attachment.force) or off
        let_go = world.machinery.detach(instance.id, volume, force)
        with world.lock:
            if let_go:
                world.ec2.detach_volume(volume, instance.id, attachment.device)
            else:
                _set_state(attachment, "busy")
    if not let_go:
        _again(world, lambda: _finish_detach(world, attachment))


def _again(world: World, job: Any) -> None:
    world.timeline.after(world.latencies.busy_poll, job)


def _stands(world: World, attachment: VolumeAttachment, *states: str) -> bool:
    """Whether this attachment is still the volume's, in one of these states."""
    with world.lock:
        return attachment.volume.attachment is attachment and attachment.status in states


def _set_state(attachment: VolumeAttachment, state: str) -> None:
    attachment.status = state
    mapping = attachment.instance.block_device_mapping.get(attachment.device)
    if mapping is not None:
        # DescribeInstances never shows "busy": it says detaching.
        mapping.status = "detaching" if state == "busy" else state


def _described(attachment: VolumeAttachment) -> dict[str, Any]:
    return {
        "VolumeId": attachment.volume.id,
        "InstanceId": attachment.instance.id,
        "Device": attachment.device,
        "State": "detaching" if attachment.status == "busy" else attachment.status,
        "AttachTime": attachment.attach_time,
    }
