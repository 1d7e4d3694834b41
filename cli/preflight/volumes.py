"""Checks of the volumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cli.preflight.facts import Facts, Finding, Raw, interfaces_of, zone_of

SLOTS_MOST: Final = 28
"""Attachments of most Nitro instances, network interfaces included, where EC2 gives no figure."""


def exist(facts: Facts) -> Iterator[Finding]:
    """Each volume is there, and tagged."""
    for volume in _ids(facts):
        found = facts.volumes.get(volume)
        if found is None:
            yield Finding(
                "volumes",
                volume,
                "EC2 knows no such volume in this account and region",
                "Mend the id in the definition.",
            )
        elif not facts.is_tagged(found):
            yield Finding(
                "tags",
                volume,
                "the volume lacks Baton's tags, so IAM refuses to move it",
                facts.tag_command.replace("IDS", volume),
            )


def are_in_the_zone(facts: Facts) -> Iterator[Finding]:
    """A volume can only be attached in its own zone."""
    zones = {zone_of(instance) for instance in facts.present.values()}
    for volume, found in facts.volumes.items():
        if zones and found["AvailabilityZone"] not in zones:
            yield Finding(
                "zones",
                volume,
                f"the volume is in {found['AvailabilityZone']}, the nodes in {', '.join(sorted(zones))}",
                "Copy it by a snapshot to the nodes' zone, or launch the nodes in its zone.",
            )


def are_held_by_members(facts: Facts) -> Iterator[Finding]:
    """Baton takes a volume from no stranger."""
    for volume, found in facts.volumes.items():
        for attachment in found.get("Attachments", []):
            holder = attachment.get("InstanceId", "")
            if holder not in facts.nodes:
                yield Finding(
                    "stranger",
                    volume,
                    f"the volume is attached to {holder}, which is no node of the cluster",
                    f"Stop what uses it there, unmount it, and aws ec2 detach-volume"
                    f" --volume-id {volume} --instance-id {holder}",
                )


def survive_their_node(facts: Facts) -> Iterator[Finding]:
    """DeleteOnTermination would delete the data together with a node."""
    for node, instance in facts.present.items():
        for mapping in instance.get("BlockDeviceMappings", []):
            ebs = mapping.get("Ebs", {})
            if ebs.get("VolumeId") in _ids(facts) and ebs.get("DeleteOnTermination"):
                device = mapping["DeviceName"]
                change = f'[{{"DeviceName":"{device}","Ebs":{{"DeleteOnTermination":false}}}}]'
                yield Finding(
                    "delete-on-termination",
                    ebs["VolumeId"],
                    f"the volume is deleted if {node} is terminated",
                    f"aws ec2 modify-instance-attribute --instance-id {node}"
                    f" --block-device-mappings '{change}'",
                )


def find_a_slot(facts: Facts) -> Iterator[Finding]:
    """Each node has room for all of the cluster's volumes."""
    wanted = set(_ids(facts))
    for node, instance in facts.present.items():
        held = {m.get("Ebs", {}).get("VolumeId") for m in instance.get("BlockDeviceMappings", [])}
        most = _slots(facts, instance)
        needed = len(held | wanted)
        if needed > most:
            yield Finding(
                "slots",
                node,
                f"the instance has {most} slots for volumes and would need {needed}",
                "Detach volumes that it does not need, or use a larger instance type.",
            )


def _slots(facts: Facts, instance: Raw) -> int:
    known: dict[str, Any] = dict(facts.types.get(str(instance.get("InstanceType")), {}))
    most = known.get("EbsInfo", {}).get("MaximumEbsAttachments")
    return int(most) if most else SLOTS_MOST - len(interfaces_of(instance))


def _ids(facts: Facts) -> list[str]:
    return [str(v["id"]) for v in facts.document.get("volumes", [])]


CHECKS: Final = (exist, are_in_the_zone, are_held_by_members, survive_their_node, find_a_slot)
