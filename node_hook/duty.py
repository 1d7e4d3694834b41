"""What a node may do when it is told to: pure, so that the simulator runs exactly this.

Theory of operation. A node remembers, durably, the highest epoch of any command it began, the epoch
up to which it has promised to execute no Acquire any more, and the epoch that it serves. Commands
come late, twice, and in any order; agents run them again after a restart. From these three numbers:

- A command of an epoch below the highest is refused: somebody newer has already been here.
- `judge` gives the memory that must be durable *before* the command has any effect.
- An Acquire waits for its device without a lock, so `may_mount` is asked again, under the lock and
  right before mounting: a Release that came meanwhile has raised the highest and overtakes it.
- Release of epoch e promises e-1 and not e, because an Acquire of e may rightly follow it. A release
  by the node itself (shutdown) promises all up to the highest.
- Acquire names the boot it is meant for, and its deadline: a command that was left in the agent's
  queue over a power-off must not mount what now belongs to another. The orchestrator's order to hand
  over does too, so that one that an agent runs again does not take mastership from a new owner.

Assumed: the memory's disk keeps what was fsynced. Not guaranteed: anything about the clock beyond
the deadline, which is compared with this node's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Union

ABSURD_JUMP = 1_000_000
"""Epochs grow by one per hand-over: a million at once is a mistake or an attack, and would shut
out every honest command after it."""


@dataclass(frozen=True)
class Order:
    """A command as it reaches a node."""

    verb: str
    epoch: int
    boot: str = ""
    deadline: float = 0.0
    unless_master: bool = False


@dataclass(frozen=True)
class Memory:
    """What a node must never forget. `serving`: the epoch served, None if none is accounted for."""

    highest: int = 0
    released: int = 0
    serving: Optional[int] = None


@dataclass(frozen=True)
class Refusal:
    """The order is not executed and nothing is changed. `result` is what the node answers."""

    code: str
    text: str
    result: str = "refused"


@dataclass(frozen=True)
class Go:
    """The order is executed once this memory is durable."""

    memory: Memory


def judge(order: Order, memory: Memory, *, boot: str, now: float, master: bool) -> Union[Refusal, Go]:
    """Whether to execute an order. `master`: keepalived says that it is, asked just now."""
    if order.verb == "handover":
        return _against_handover(order, memory, boot, now) or Go(memory)
    if order.verb not in ("release", "acquire"):
        return Go(memory)
    refusal = _against_memory(order, memory)
    if refusal is None and order.verb == "acquire":
        refusal = _against_acquire(order, memory, boot, now)
    if refusal is None and order.verb == "release":
        refusal = _against_release(order, memory, now, master)
    return refusal or Go(replace(memory, highest=order.epoch))


def may_mount(order: Order, memory: Memory) -> Optional[Refusal]:
    """Asked under the lock right before mounting: None if nothing newer came meanwhile."""
    if order.epoch < memory.highest or order.epoch <= memory.released:
        newest = max(memory.highest, memory.released)
        text = f"a command of epoch {newest} overtook this Acquire of epoch {order.epoch}"
        return Refusal("overtaken", text)
    return None


def after_release(order: Order, memory: Memory) -> Memory:
    """Memory once nothing is mounted any more."""
    highest = max(memory.highest, order.epoch)
    return Memory(highest, max(memory.released, order.epoch - 1), None)


def after_acquire(order: Order, memory: Memory) -> Memory:
    """Memory once the volumes are mounted for this order."""
    return replace(memory, highest=max(memory.highest, order.epoch), serving=order.epoch)


def after_local_release(memory: Memory) -> Memory:
    """Memory once the node released on its own account: no Acquire so far is executed any more."""
    return Memory(memory.highest, max(memory.released, memory.highest), None)


def _against_memory(order: Order, memory: Memory) -> Optional[Refusal]:
    if order.epoch < 1:
        return Refusal("absurd-epoch", f"{order.epoch} is not an epoch: they begin at 1")
    if order.epoch > memory.highest + ABSURD_JUMP:
        text = (
            f"epoch {order.epoch} is more than {ABSURD_JUMP} above {memory.highest}, the highest "
            "known here; if it is right, raise this node's by `node.py reset`"
        )
        return Refusal("absurd-epoch", text)
    if order.epoch < memory.highest:
        text = f"epoch {order.epoch} is older than {memory.highest}, which this node has executed"
        return Refusal("older-epoch", text)
    return None


def _against_acquire(order: Order, memory: Memory, boot: str, now: float) -> Optional[Refusal]:
    if order.epoch <= memory.released:
        text = f"this node has promised to acquire nothing up to epoch {memory.released}"
        return Refusal("older-epoch", text)
    if order.boot != boot:
        text = f"meant for boot {order.boot or '(none)'}; this is boot {boot}"
        return Refusal("other-boot", text)
    if now > order.deadline:
        return Refusal("past-deadline", f"the deadline passed {now - order.deadline:.1f} s ago")
    return None


def _against_handover(order: Order, memory: Memory, boot: str, now: float) -> Optional[Refusal]:
    """A person names neither epoch nor boot, and is there; the orchestrator's order may come late."""
    if order.epoch and order.epoch < memory.highest:
        text = f"epoch {order.epoch} is older than {memory.highest}: it was handed over since"
        return Refusal("older-epoch", text)
    if order.boot and order.boot != boot:
        return Refusal("other-boot", f"meant for boot {order.boot}; this is boot {boot}")
    if order.deadline and now > order.deadline:
        return Refusal("past-deadline", f"the deadline passed {now - order.deadline:.1f} s ago")
    return None


def _against_release(order: Order, memory: Memory, now: float, master: bool) -> Optional[Refusal]:
    if order.unless_master and master:
        text = "keepalived says MASTER: nothing was released"
        return Refusal("", text, result="still-master")
    if memory.serving == order.epoch and now > order.deadline:
        text = (
            f"epoch {order.epoch} has been acquired here since, and this Release's deadline passed "
            f"{now - order.deadline:.1f} s ago: an agent ran it again"
        )
        return Refusal("past-deadline", text)
    return None
