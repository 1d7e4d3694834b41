"""How long the embedded AWS takes for each thing it does, and its few other settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds. The defaults are what AWS takes on an ordinary day; `fast()` is for tests."""

    api: float = 0.04
    """Every API call, before it has any effect."""
    attach: float = 2.0
    """Most EBS attaches and detaches end in 1-4 s (figures of the EBS CSI driver)."""
    detach: float = 2.0
    busy_poll: float = 1.0
    """A detach of a mounted volume: how often the host is asked again whether it let go."""
    address: float = 0.5
    """From the record of an address to the packets: AssignPrivateIpAddresses is asynchronous."""
    launch: float = 15.0
    start: float = 15.0
    stop: float = 30.0
    """A stop that lets the operating system shut down."""
    forced_stop: float = 8.0
    """Force and SkipOsShutdown: the nearest thing to pulling the plug."""
    terminate: float = 15.0
    ssm_visible: float = 0.2
    """After SendCommand, GetCommandInvocation says InvocationDoesNotExist for so long."""
    ssm_deliver: float = 0.4
    """From SendCommand to the agent."""
    ssm_report: float = 0.3
    """From the agent's report to GetCommandInvocation."""
    event: float = 0.15
    """EventBridge to its target: median 150 ms, p99 about 390 ms."""
    retries: tuple[float, float] = (60.0, 120.0)
    """Before the second and third try of an asynchronous invocation that failed."""
    minute: float = 60.0
    """What a minute of a scheduled rule lasts: 2.0 makes rate(1 minute) fire every 2 s."""

    @classmethod
    def fast(cls) -> Latencies:
        """Every asynchronous thing stays asynchronous, but takes no time to speak of."""
        return cls(
            api=0.0,
            attach=0.1,
            detach=0.1,
            busy_poll=0.1,
            address=0.05,
            launch=0.1,
            start=0.1,
            stop=0.2,
            forced_stop=0.1,
            terminate=0.1,
            ssm_visible=0.05,
            ssm_deliver=0.05,
            ssm_report=0.05,
            event=0.01,
            retries=(0.2, 0.4),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays the same for the life of a cloud."""

    account: str = "123456789012"
    region: str = "eu-central-1"
    latencies: Latencies = field(default_factory=Latencies)
    runtime: Path = Path(__file__).resolve().parents[2] / ".venv-lambda"
    """Virtual environment that Lambda functions run in: awslambdaric and boto3, nothing else."""
    concurrency: int = 10
    """Environments per function; further invocations are throttled, as over a quota."""
    volumes_most: int = 27
    """Attachments per instance: 28 on most Nitro types, one of which is the network interface."""
    addresses_most: int = 15
    """IPv4 addresses per network interface (m5.xlarge)."""
