"""The service address on an interface: keepalived's to add and remove, ours only if it is dead.

When all of keepalived is killed at once nothing takes the address away, and this host goes on
answering for it although another one serves.
"""

from __future__ import annotations

import time

from node_hook import children, keepalived
from node_hook.job import Job

IP_SECONDS = 2.0
"""`ip` asks the kernel over a socket: milliseconds."""


def drop_stale(job: Job) -> "list[str]":
    """Delete service addresses that a dead keepalived left; those that were deleted."""
    if not job.config.addresses or keepalived.find(job.paths) is not None:
        return []
    dropped = []
    for address in job.config.addresses:
        for interface, cidr in present(address.address):
            ended = children.run(["ip", "address", "del", cidr, "dev", interface], time.time() + IP_SECONDS)
            if ended.code == 0:
                dropped.append(address.address)
                job.note(f"deleted {cidr} from {interface}: no keepalived runs that would")
    return dropped


def present(address: str) -> "list[tuple[str, str]]":
    """Where an address is: interface and address with its prefix length."""
    ended = children.run(["ip", "-o", "address", "show", "to", address], time.time() + IP_SECONDS)
    if ended.code != 0:
        return []
    fields = [line.split() for line in ended.output.splitlines()]
    return [(f[1].partition("@")[0], f[3]) for f in fields if len(f) > 3]
