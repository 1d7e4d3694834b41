"""What people's `status` says of the host besides: the things that spoil a hand-over unnoticed.

Only looks. It takes up to some seconds, so the orchestrator's `status`, which is part of a
hand-over and carries a deadline, goes without.
"""

from __future__ import annotations

import glob
import os
import time
from typing import Any

from node_hook import children, devices, filesystem
from node_hook.config import Config
from node_hook.job import Failed

LOOK_SECONDS = 3.0
"""Each question to a program of the host; one that hangs costs no more."""

FSTAB = "/etc/fstab"
KEEPALIVED_CONF = "/etc/keepalived/keepalived.conf"
_NET_UTILS = (
    "/usr/lib/udev/rules.d/*ec2-net*",
    "/etc/udev/rules.d/*ec2net*",
    "/usr/bin/setup-policy-routes",
    "/usr/sbin/ec2ifup",
)
"""Files of ec2-net-utils and amazon-ec2-net-utils, which add secondary addresses by themselves."""


def host(config: Config) -> "dict[str, Any]":
    """Facts for `./baton check`; a question that found no answer is None."""
    return {
        "now": time.time(),
        "fstab": _in_fstab(config),
        "enabled": _enabled(config.units),
        "filesystems": {volume.id: _filesystem(config, volume) for volume in config.volumes},
        "net_utils": [path for pattern in _NET_UTILS for path in sorted(glob.glob(pattern))],
        "keepalived": _keepalived(config),
    }


def _in_fstab(config: Config) -> "list[str]":
    """Our mount points that the host itself would mount at boot, before Baton says who may."""
    try:
        with open(FSTAB, encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file if not line.lstrip().startswith("#")]
    except OSError:
        return []
    points = {volume.mount for volume in config.volumes}
    return sorted({row[1] for row in rows if len(row) > 1 and row[1] in points})


def _enabled(units: "tuple[str, ...]") -> "list[str]":
    """Managed units that systemd would start at boot."""
    if not units:
        return []
    ended = children.run(["systemctl", "is-enabled", *units], time.time() + LOOK_SECONDS)
    states = ended.output.split()
    if len(states) != len(units):
        return []
    return [units[at] for at, state in enumerate(states) if state.startswith("enabled")]


def _filesystem(config: Config, volume: Any) -> "dict[str, Any] | None":
    """What is on a volume that is attached here; None if it is not."""
    try:
        device = devices.find(volume, config.paths)
        return None if device is None else dict(filesystem.probe(device))
    except (devices.Unverified, Failed) as error:
        # A device that hangs, too: status is what people ask then.
        return {"trouble": str(error)}


def _keepalived(config: Config) -> "dict[str, Any]":
    """Whether keepalived is there, takes its configuration, and knows our instance."""
    until = time.time() + LOOK_SECONDS
    version = children.run(["keepalived", "--version"], until)
    test = children.run(["keepalived", "--config-test", "-f", KEEPALIVED_CONF], until)
    text = ""
    try:
        with open(KEEPALIVED_CONF, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        pass
    return {
        "installed": version.code == 0,
        "valid": test.code == 0,
        "said": test.output.strip()[-500:],
        "instance": config.vrrp_instance in text,
        "fifo": config.paths.fifo in text,
        "running": os.path.exists(config.paths.keepalived_pid),
    }
