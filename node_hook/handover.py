"""handover: make keepalived give up mastership without stopping it.

The lever is the track file, the only one that works under `nopreempt` too: while it holds, keepalived
is in FAULT and a backup takes over; cleared, it returns as backup and pulls nothing back. A backup
is silent in VRRP, so whether one is ready comes with the command, from the orchestrator's record.
People ask for it, and the orchestrator itself when AWS is about to take this node.
"""

from __future__ import annotations

import time
from typing import Any

from node_hook import duty, hold, keepalived, lift
from node_hook.job import Failed, Job, answer

HANDOVER_SECONDS = 30.0
"""How long to wait for a command of a newer epoch: election 1 s, EventBridge, Lambda and SSM some."""

LOOK_SECONDS = 0.05


def handover(job: Job, ready: str, anyway: bool) -> "dict[str, Any]":
    """Hand over, and wait until the peer's epoch shows here. Raises Failed."""
    _check(job, ready, anyway)
    before = job.epochs.read().highest
    until = job.order.deadline or time.time() + HANDOVER_SECONDS
    lift.put(job.paths.hold, "handover", "given up by hand", until - time.time())
    try:
        with job.step("wait for a peer"):
            while job.epochs.read().highest <= before and time.time() < until:
                time.sleep(LOOK_SECONDS)
    finally:
        hold.clear(job.paths.hold, "handover")
    highest = job.epochs.read().highest
    if highest <= before:
        raise Failed("past-deadline", "no peer took over by the deadline; this node may be master again")
    return answer(job, "released", "", f"taken over: a command of epoch {highest} has arrived")


def _check(job: Job, ready: str, anyway: bool) -> None:
    state = keepalived.current(job.paths, job.config.vrrp_instance)
    if state != "MASTER":
        text = f"keepalived says {state or 'nothing'} here: there is no mastership to hand over"
        raise Failed("", text, result="refused")
    memory, boot = job.epochs.read(), job.boot
    verdict = duty.judge(job.order, memory, boot=boot, now=time.time(), master=True)
    if isinstance(verdict, duty.Refusal):
        raise Failed(verdict.code, verdict.text, result=verdict.result)
    if ready and ready == job.config.node:
        raise Failed("", f"{ready} is this node itself: name a peer", result="refused")
    if not ready and not anyway:
        text = "no peer is known to be ready, so nobody might serve; --anyway hands over all the same"
        raise Failed("", text, result="refused")
