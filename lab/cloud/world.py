"""What the parts of the embedded AWS share, and the one that is current in this process.

moto keeps its state in module globals, so a process has one cloud at a time.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from lab.cloud.calls import Answers, Call, Calls, Principals
from lab.cloud.faults import Faults
from lab.cloud.machinery import Machinery
from lab.cloud.settings import Latencies, Settings
from lab.cloud.timeline import Timeline

if TYPE_CHECKING:
    from moto.core.responses import BaseResponse
    from moto.ec2.models import EC2Backend

    from lab.cloud.bus import Bus
    from lab.cloud.functions import Functions
    from lab.cloud.keeper import Keeper
    from lab.cloud.run_command import RunCommand


@dataclass
class World:
    """State and parts. `lock` guards all of moto: its backends are not safe for threads.

    Never call the machinery, sleep, or wait for a Lambda function under the lock.
    """

    settings: Settings
    machinery: Machinery
    endpoint: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    calls: Calls = field(default_factory=Calls)
    answers: Answers = field(default_factory=Answers)
    principals: Principals = field(default_factory=Principals)
    faults: Faults = field(default_factory=Faults)
    timeline: Timeline = field(default_factory=Timeline)
    lambda_log: deque[str] = field(default_factory=lambda: deque(maxlen=20_000))
    stopped: threading.Event = field(default_factory=threading.Event)
    volume_locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    power_locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    fabric_lock: threading.Lock = field(default_factory=threading.Lock)
    bus: Bus = field(init=False)
    functions: Functions = field(init=False)
    commands: RunCommand = field(init=False)
    keeper: Keeper = field(init=False)

    @property
    def latencies(self) -> Latencies:
        """How long things take."""
        return self.settings.latencies

    @property
    def ec2(self) -> EC2Backend:
        """moto's EC2 of the cloud's region."""
        from moto.ec2.models import ec2_backends

        return ec2_backends[self.settings.account][self.settings.region]

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the cloud's account and region."""
        return f"arn:aws:{service}:{self.settings.region}:{self.settings.account}:{resource}"


@dataclass(slots=True)
class Request:
    """A call on its way to an operation: its record, and moto's object that answers it."""

    call: Call
    response: BaseResponse

    @property
    def parameters(self) -> dict[str, Any]:
        """As the API names them."""
        return self.call.parameters


Operation: TypeAlias = Callable[[World, Request], Any]

_current: list[World] = []


def current() -> World | None:
    """The running cloud's world."""
    return _current[-1] if _current else None


def enter(world: World) -> None:
    """Make it the current one; there must be none."""
    if _current:
        raise RuntimeError(
            "A cloud runs in this process already. moto's state is global: stop that one first."
        )
    _current.append(world)


def leave(world: World) -> None:
    """No cloud is current any more."""
    if world in _current:
        _current.remove(world)
