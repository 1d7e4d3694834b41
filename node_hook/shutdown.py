"""shutdown: this host goes down in order, so it releases by itself and says so.

Runs from baton-node.service, which systemd stops after the cluster's units and before the network
and the publisher. Keepalived stops at the same time; whichever is last, the node's newest word is
STOP with everything released, and the orchestrator need not fence a host for rebooting.
"""

from __future__ import annotations

import time
from typing import Any

from node_hook import duty, epochs, hold
from node_hook.job import Job, answer
from node_hook.leave import let_go

SHUTDOWN_SECONDS = 40.0
"""The unit's TimeoutStopSec is longer. Past this the host goes down with what is still mounted."""


def shutdown(job: Job) -> "dict[str, Any]":
    """Give up mastership, let go, remember. Raises Failed."""
    until = time.time() + SHUTDOWN_SECONDS
    hold.put(job.paths.hold, "shutdown", "this host goes down")
    with epochs.work(job.paths, "shutdown", until):
        let_go(job, until)
        with job.step("remember release"):
            memory = job.epochs.change(duty.after_local_release)
    return answer(job, "released", "", f"released up to epoch {memory.released}, because this host goes down")


def arrive(job: Job) -> "dict[str, Any]":
    """The counterpart, when the host is up or the unit is started by hand: stand for election."""
    hold.clear(job.paths.hold, "shutdown")
    return answer(job, "status", "", "standing for election")
