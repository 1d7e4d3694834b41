"""What the demo's lab is made of: names, addresses, volumes, and how long the embedded AWS takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lab.cloud import Latencies

STAGE: Final = "lab"
CLUSTER: Final = "orders"
ADDRESS: Final = "10.9.0.100"
PORT: Final = 7000
VPC: Final = "10.9.0.0/16"
SUBNET: Final = "10.9.0.0/24"
NODES: Final = {"a": "10.9.0.11", "b": "10.9.0.12", "c": "10.9.0.13"}
"""Primary addresses by short name, in the order of their priorities: 254, 253, 252."""

CLIENT: Final = "client"
CLIENT_ADDRESS: Final = "10.9.0.50"
LEDGER_UNIT: Final = "ledger.service"

ADVERT_SECONDS: Final = 0.3
"""A dead master is noticed after 0.9 s. Shorter, and a busy machine looks like a dead one."""
HEARTBEAT_SECONDS: Final = 5.0
CHALLENGE_SECONDS: Final = 4.5
"""The least that a definition may say: the demo is not to take longer than it has to."""
STOPPING_SECONDS: Final = 6.0
"""A forced stop takes 2 s here: three times that is stuck."""

LATENCIES: Final = Latencies(
    api=0.01,
    attach=0.6,
    detach=0.6,
    busy_poll=0.3,
    address=0.15,
    launch=0.1,
    start=1.5,
    stop=2.0,
    forced_stop=2.0,
    terminate=1.0,
    ssm_visible=0.1,
    ssm_deliver=0.2,
    ssm_report=0.1,
    event=0.1,
    retries=(1.0, 2.0),
    minute=3.0,
)
"""About a third of AWS's figures, so that ten scenarios fit into three minutes; a minute of the
schedule lasts 3 s, so that what only the sweep repairs is seen to be repaired."""

CONCURRENCY: Final = 3
"""Lambda environments of each function: one drives, the others take words. Each new one costs half a
second of a core here, and with many of them a slow machine only becomes slower."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume of the cluster."""

    mount: str
    filesystem: str
    megabytes: int


DISKS: Final = (
    Disk("/srv/orders1", "ext4", 64),
    Disk("/srv/orders2", "ext4", 64),
    Disk("/srv/orders3", "ext4", 64),
    Disk("/srv/orders4", "xfs", 320),
)
"""Four, so that a hand-over is never one call; XFS shuts down where ext4 goes read-only."""

LEDGER_SERVICE: Final = f"""[Unit]
Description=The ledger: a service that can only run once
[Service]
ExecStart=/usr/bin/python3 -u /opt/ledger/ledger.py {PORT} {" ".join(disk.mount for disk in DISKS)}
Restart=no
TimeoutStopSec=5
"""

KEEPALIVED_DROP_IN: Final = """[Service]
ExecStartPost=-/bin/sh -c "renice -n -15 -p $(pidof keepalived)"
"""
"""Three hosts, AWS and Lambda share two cores here: keepalived gets the time that it has on EC2."""


def definition(nodes: list[str], volumes: list[str]) -> dict[str, Any]:
    """The cluster's definition, as an operator would write it."""
    return {
        "version": 1,
        "name": CLUSTER,
        "nodes": [{"id": node} for node in nodes],
        "volumes": [
            {"id": volume, "mount": disk.mount, "filesystem": disk.filesystem, "options": ["noatime"]}
            for volume, disk in zip(volumes, DISKS, strict=True)
        ],
        "addresses": [{"address": ADDRESS, "interface": "eth0", "prefix": 24}],
        "units": [LEDGER_UNIT],
        "unit_seconds": 10,
        "keepalived": {"interface": "eth0", "advert_seconds": ADVERT_SECONDS},
        "heartbeat_seconds": HEARTBEAT_SECONDS,
        "challenge_seconds": CHALLENGE_SECONDS,
        "stopping_seconds": STOPPING_SECONDS,
    }
