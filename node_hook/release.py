"""release: let go of everything, for an epoch. Idempotent; succeeds only if nothing is mounted."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from node_hook import address, duty, epochs, hold, keepalived
from node_hook.duty import Refusal
from node_hook.job import Job, answer, say
from node_hook.leave import let_go

LATE_SECONDS = 10.0
"""A release that comes after its deadline is still worth doing: it gets this long."""


def release(job: Job) -> "dict[str, Any]":
    """Judge, let go, and remember it. Raises Failed, Locked, StateError."""
    master = False
    if job.order.unless_master:
        # A keepalived that runs but does not answer has not said that it is master: a release costs
        # an interruption, a challenge without an answer costs this host.
        with job.step("ask keepalived"):
            master = keepalived.current(job.paths, job.config.vrrp_instance) == "MASTER"
    with job.step("remember"):
        verdict = job.epochs.decide(
            partial(duty.judge, job.order, boot=job.boot, now=time.time(), master=master)
        )
    if isinstance(verdict, Refusal):
        return answer(job, verdict.result, verdict.code, verdict.text)
    now = time.time()
    until = job.order.deadline if job.order.deadline > now else now + LATE_SECONDS
    say("lock")
    with epochs.work(job.paths, f"release, epoch {job.order.epoch}", until):
        let_go(job, until)
        with job.step("remember release"):
            job.epochs.change(partial(duty.after_release, job.order))
    with job.step("address"):
        address.drop_stale(job)
    # Whoever was told to give up mastership because of an older epoch may stand for election again.
    hold.clear(job.paths.hold, "acquire")
    return answer(job, "released", "", f"released for epoch {job.order.epoch}")
