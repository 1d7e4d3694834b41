"""The AWS that the core relies on, as either implementation offers it to a test.

Two worlds claim to behave like AWS: the simulator's (pure functions that every interleaving is
explored with) and the lab's (an emulator with EC2's own errors and delays, reached through the real
ports). A test that is written against this protocol runs in both, so neither can drift by itself.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chalicelib.model import (
    Action,
    AddressView,
    Asked,
    Attached,
    Cluster,
    Command,
    Observation,
    Outcome,
    Power,
    Record,
    Seat,
    Verb,
    Word,
)


class Told(NamedTuple):
    """What became of a call, as the core is told: the outcome, and AWS's code or ours."""

    outcome: Outcome
    code: str = ""


DONE = Told(Outcome.DONE)


class Aws(Protocol):
    """Two running nodes with two volumes, an address and a record, all of them at rest.

    What AWS begins stays under way until `settle`, so that a test sees each state in between.
    """

    cluster: Cluster

    @property
    def now(self) -> float:
        """The driver's clock. It moves only as a test moves it."""

    def interface(self, node: str) -> str:
        """The node's network interface."""

    def boot(self, node: str) -> str:
        """The id of the boot that the node is in."""

    def do(self, action: Action, fate: str = "") -> tuple[Told, str | None]:
        """Perform an action: what became of it, and SSM's id if it is a command.

        `fate`: "throttled"; "unknown", done but its reply lost; "lost", neither done nor answered.
        """

    def see(self, record: Record | None = None) -> Observation:
        """One look, as the driver of this record takes it."""

    def settle(self) -> None:
        """What EC2 has begun comes to its end, as far as the hosts let it."""

    def mount(self, node: str) -> None:
        """The host mounts every volume that is on it."""

    def unmount(self, node: str) -> None:
        """The host lets go of its volumes."""

    def run_commands(self) -> None:
        """The agents of running hosts execute what was sent to them, and their answers arrive."""

    def lose_commands(self) -> None:
        """No answer to what was sent so far will ever come."""

    def wait(self, seconds: float) -> None:
        """Time passes for drivers."""

    def load(self) -> Record:
        """The record."""

    def accept(self, word: Word) -> bool:
        """Write down a node's word; whether it counts."""

    def take(self, holder: str) -> Record | None:
        """Take the lease."""

    def persist(self, record: Record) -> Record | None:
        """Write the driver's half, as the holder of the lease in it."""

    def give_up(self, record: Record) -> bool:
        """Give the lease in it back."""


class Place(NamedTuple):
    """An attachment without its device."""

    node: str
    state: Attached


def places(aws: Aws, volume: str) -> tuple[Place, ...]:
    """Where a look shows the volume. `busy` is EC2's name for a detach that the host holds up."""
    view = aws.see().volume(volume)
    assert view is not None
    assert view.exists
    busy = {Attached.BUSY: Attached.DETACHING}
    return tuple(Place(a.node, busy.get(a.state, a.state)) for a in view.attachments)


def address(aws: Aws) -> AddressView:
    """How a look shows the service address."""
    view = aws.see().address(aws.cluster.addresses[0])
    assert view is not None
    return view


def power(aws: Aws, node: str) -> Power:
    """How a look shows an instance."""
    return aws.see().power(node)


def devices(aws: Aws, node: str) -> set[str]:
    """Device names for data volumes that a look shows in use on the node."""
    view = aws.see().instance(node)
    assert view is not None
    return {name for name in view.devices if name in {f"/dev/sd{c}" for c in "fghijklmnop"}}


def order(aws: Aws, node: str, verb: Verb = Verb.RELEASE, epoch: int = 3) -> Command:
    """A command to the node in the boot that it is in, with all the time it could need."""
    return Command(node, verb, epoch, aws.boot(node), aws.now + 60, volumes=aws.cluster.volumes)


def waiting(aws: Aws, command: Command, id: str | None) -> Record:
    """The record of a driver that waits for the answer to this command."""
    asked = Asked(command, aws.now, id=id, outcome=Outcome.DONE)
    return Record(aws.cluster.name, seats=(Seat(command.node, asked=(asked,)),))
