"""reboot: the owner reboots, once alone and once together with a peer."""

from __future__ import annotations

import time

from lab.demo.lab import Lab
from lab.demo.scenario import Played, Scenario

BOOT_SECONDS = 60.0


def reboot(lab: Lab, names: list[str]) -> tuple[str, ...]:
    """Reboot these, in order; proofs that they did."""
    before = {name: lab.host(name).boot_id for name in names}
    lab.cloud.client("ec2").reboot_instances(InstanceIds=[lab.nodes[name] for name in names])

    def booted(name: str) -> bool:
        return lab.host(name).boot_id != before[name] and lab.host(name).up

    lab.wait(f"{' and '.join(names)} booted again", lambda: all(map(booted, names)), BOOT_SECONDS)
    return tuple(f"{name} has another boot id than before" for name in names)


def play_alone(lab: Lab) -> Played:
    """The owner reboots."""
    old = lab.owner
    fault_at = time.monotonic()
    return Played(fault_at, old, reboot(lab, [old]))


def play_with_peer(lab: Lab) -> Played:
    """The owner and the next in line reboot at once."""
    old = lab.owner
    fault_at = time.monotonic()
    return Played(fault_at, old, reboot(lab, [old, lab.others(old)[0]]))


ALONE = Scenario("reboot-alone", "the owner reboots", play_alone)
WITH_PEER = Scenario("reboot-peer", "the owner and a peer reboot at once", play_with_peer)
