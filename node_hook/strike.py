"""Unmounting against a supervisor that starts a killed holder again within a millisecond.

Killing and unmounting in turns, each in a program of its own, loses that race every time. Here one
child kills what holds and tries to unmount in between, as fast as the kernel answers. Only what
holds this very filesystem is killed; the supervisor is not.
"""

from __future__ import annotations

import os
import signal
import time

from node_hook import children, holders
from node_hook.holders import Where
from node_hook.mounts import UMOUNT_NOFOLLOW

SPIN_SECONDS = 0.002
"""A killed process is gone within this, and its successor may be there soon after."""


def strike(points: "list[str]", where: Where, until: float, proc: str) -> "list[int]":
    """Kill holders and unmount these points, deepest first, until it is done; who was killed."""
    spare = {1, os.getpid(), *holders.parents(os.getpid(), proc)}

    def work() -> int:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        left = [os.fsencode(point) for point in points]
        harmless = spare | {os.getpid()}
        while left and time.time() < until:
            for pid in holders.pids(proc):
                if pid in harmless:
                    continue
                if holders.tell_pid(pid, where, signal.SIGKILL, proc):
                    os.write(1, b"%d\n" % pid)
                else:
                    harmless.add(pid)
            spin_until = time.time() + SPIN_SECONDS
            while left and time.time() < spin_until:
                left = [p for p in left if libc.umount2(p, UMOUNT_NOFOLLOW) != 0]
        return len(left)

    ended = children.call(work, until + 0.5)
    return sorted({int(line) for line in ended.output.splitlines() if line.isdigit()})
