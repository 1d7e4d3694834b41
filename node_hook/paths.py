"""Where things are on a node: one frozen value, so that nothing else spells a path.

The defaults are those of an installed node. `paths` in node.json may name others; a directory that
is named there carries the files that live in it along.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

CONFIG = "/etc/baton/node.json"
"""Where the configuration is, unless the environment variable BATON_CONFIG says otherwise."""

_IN_STATE = {"spool": "spool", "epoch": "epoch.json", "lock": "lock", "audit": "audit.log"}
_IN_RUN = {"fifo": "vrrp.fifo", "view": "state.json", "hold": "hold"}


@dataclass(frozen=True)
class Paths:
    """Every path a node uses; plain strings, because pathlib costs more than the script's work."""

    state: str = "/var/lib/baton"
    spool: str = "/var/lib/baton/spool"
    epoch: str = "/var/lib/baton/epoch.json"
    lock: str = "/var/lib/baton/lock"
    audit: str = "/var/lib/baton/audit.log"
    run: str = "/run/baton"
    fifo: str = "/run/baton/vrrp.fifo"
    view: str = "/run/baton/state.json"
    hold: str = "/run/baton/hold"
    boot_id: str = "/proc/sys/kernel/random/boot_id"
    proc: str = "/proc"
    dev: str = "/dev"
    by_id: str = "/dev/disk/by-id"
    sys_block: str = "/sys/block"
    sys_dev: str = "/sys/dev/block"
    keepalived_pid: str = "/run/keepalived.pid"
    keepalived_json: str = "/tmp/keepalived.json"


def paths_from(overrides: dict[str, Any]) -> Paths:
    """Paths with these overrides. Raises ValueError for a name that is no path of ours."""
    known = {field.name for field in fields(Paths)}
    for name, value in overrides.items():
        if name not in known:
            raise ValueError(f"paths.{name} is not a path that Baton uses")
        if not isinstance(value, str) or not value.startswith("/"):
            raise ValueError(f"paths.{name} must be an absolute path, not {value!r}")
    values = dict(overrides)
    for directory, inside in (("state", _IN_STATE), ("run", _IN_RUN)):
        if directory in overrides:
            for name, leaf in inside.items():
                values.setdefault(name, os.path.join(overrides[directory], leaf))
    return Paths(**values)


def config_path() -> str:
    """The configuration file of this node."""
    return os.environ.get("BATON_CONFIG", CONFIG)


def boot_id(paths: Paths) -> str:
    """Identity of the running boot, as the kernel says it."""
    with open(paths.boot_id, encoding="ascii") as file:
        return file.read().strip()
