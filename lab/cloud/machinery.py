"""The seam between the embedded AWS and the hosts: what EC2 and SSM do to a machine.

The cloud calls, the hosts implement. Calls come from the cloud's own threads, never two at a
time for one volume or one instance's power, and must be bounded. An exception is noted in
`Cloud.problems`, and the thing that was to happen stays under way (attaching, detaching,
stopping), as on a broken EC2 host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Report: TypeAlias = Callable[[str, int, str, str], None]
"""report(status, response_code, stdout, stderr); "InProgress" may be reported before the end."""


class AgentUnreachable(Exception):
    """Raised by `deliver`: no agent takes the command. It stays Pending and is tried again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A Run Command document on its way to an agent.

    `parameters` holds every parameter of the document, defaults filled in. `report` may be called
    late, twice, or never.
    """

    command_id: str
    document_name: str
    document_content: dict[str, Any]
    parameters: dict[str, list[str]]
    report: Report


class Machinery(Protocol):
    """A set of machines, by instance id."""

    def attach(self, instance: str, volume: str, device: str) -> None:
        """Make the block device appear. Called again for each volume after every start."""

    def detach(self, instance: str, volume: str, force: bool) -> bool:
        """Let go of the device; False if it is mounted and `force` is not set: EC2 asks again.

        `force` is also set once the instance is stopped. A device that is not there is let go.
        """

    def stop(self, instance: str, force: bool, skip_os_shutdown: bool) -> None:
        """Power off; returns when the machine is off, which is when EC2 says `stopped`."""

    def start(self, instance: str) -> None:
        """Boot again after `stop`."""

    def moved(self, address: str, interface: str | None, instance: str | None) -> None:
        """EC2's record of a secondary address changed; None: nobody holds it."""

    def deliver(self, instance: str, delivery: Delivery) -> None:
        """Hand a command to the instance's agent and return at once."""


class Nothing:
    """No machines at all: devices come and go, agents take commands and say that they succeeded."""

    def attach(self, instance: str, volume: str, device: str) -> None:
        """Nothing appears."""

    def detach(self, instance: str, volume: str, force: bool) -> bool:
        """Nothing is ever mounted."""
        return True

    def stop(self, instance: str, force: bool, skip_os_shutdown: bool) -> None:
        """Nothing runs."""

    def start(self, instance: str) -> None:
        """Nothing boots."""

    def moved(self, address: str, interface: str | None, instance: str | None) -> None:
        """No packet flows."""

    def deliver(self, instance: str, delivery: Delivery) -> None:
        """Success, with no output."""
        delivery.report("Success", 0, "", "")
