"""status: what this node is and has, without changing anything; and `reset`, which does."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from node_hook import address, hold, keepalived, mounts, units
from node_hook.duty import Memory
from node_hook.epochs import StateError
from node_hook.job import Failed, Job, answer


def status(job: Job) -> "dict[str, Any]":
    """The answer to status; it never refuses."""
    memory, trouble = Memory(), ""
    try:
        memory = job.epochs.read()
    except StateError as error:
        trouble = str(error)
    found = answer(job, "status", "", trouble or _sentence(job, memory))
    found["status"] = {
        "boot": job.boot,
        "highest": memory.highest,
        "released": memory.released,
        "serving": memory.serving,
        "vrrp": keepalived.current(job.paths, job.config.vrrp_instance),
        "held": hold.reasons(job.paths.hold),
        "mounts": _mounts(job),
        "units": units.states(job.config.units),
        "addresses": {a.address: _interface(a.address) for a in job.config.addresses},
        "config": job.config.digest,
        "versions": _versions(job),
    }
    if not job.order.deadline:  # people ask, without haste; the orchestrator is in the middle of a hand-over
        from node_hook import preflight

        found["status"]["host"] = preflight.host(job.config)
    return found


def reset(job: Job) -> "dict[str, Any]":
    """Set the highest epoch by hand, for a node whose memory is damaged or was led astray."""
    who = f"uid {os.getuid()} ({os.environ.get('SUDO_USER') or os.environ.get('USER') or '?'})"
    if any(_mounts(job).values()):
        raise Failed("busy", "volumes are mounted here: release them first", result="refused")
    before = job.epochs
    before.reset(job.order.epoch, who)
    return answer(job, "status", "", f"highest epoch set to {job.order.epoch}, audited in {job.paths.audit}")


def _sentence(job: Job, memory: Memory) -> str:
    if memory.serving is not None:
        return f"serving epoch {memory.serving}"
    mounted = [point for point, source in _mounts(job).items() if source]
    if mounted:
        return f"{', '.join(mounted)} mounted, but no epoch accounts for it"
    return f"serving nothing; highest epoch {memory.highest}"


def _mounts(job: Job) -> "dict[str, str]":
    table = mounts.own(job.paths.proc)
    found = {volume.mount: mounts.at(volume.mount, table) for volume in job.volumes}
    return {point: f"{m.source} {m.filesystem} {m.options}" if m else "" for point, m in found.items()}


def _interface(cidr: str) -> str:
    return ", ".join(interface for interface, _ in address.present(cidr))


def _versions(job: Job) -> "dict[str, str]":
    from node_hook import children
    from node_hook.word import SOFTWARE

    until = time.time() + 2.0
    first = children.run(["keepalived", "--version"], until).output.splitlines()[:1]
    return {
        "baton": SOFTWARE,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "kernel": os.uname().release,
        "keepalived": first[0] if first else "",
    }
