"""Runs the node script and kills it with SIGKILL right before a line that it had not reached before.

    assassin.py N node.py ACTION ...

N counts the distinct lines of Baton's functions in the order in which they are first reached, in
its forked children too. A script that ends before has fewer lines. The last line of stderr names
the place, or tells how many there were.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from types import CodeType, FrameType
from typing import Any

VICTIM = os.getpid()
FUNCTION = 1
"""CO_OPTIMIZED: the code of a function, and not of a module or a class."""
seen: set[tuple[CodeType, int]] = set()


def trace(frame: FrameType, event: str, argument: Any) -> Any:
    """What Python calls at each call, and in functions of ours at each line."""
    code = frame.f_code
    if not code.co_flags & FUNCTION or os.path.basename(os.path.dirname(code.co_filename)) != "node_hook":
        return None
    if event == "line" and (code, frame.f_lineno) not in seen:
        seen.add((code, frame.f_lineno))
        if len(seen) == last:
            sys.stderr.write(f"\nkilled at {os.path.basename(code.co_filename)}:{frame.f_lineno}\n")
            sys.stderr.flush()
            os.kill(VICTIM, signal.SIGKILL)
    return trace


last = int(sys.argv[1])
sys.argv = sys.argv[2:]
sys.settrace(trace)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.settrace(None)
    sys.stderr.write(f"\n{len(seen)} lines\n")
