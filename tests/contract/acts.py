"""What several tests of the contract do first."""

from __future__ import annotations

from chalicelib.model import Action, Attach, Attached, Fence, Power
from tests.contract.ports import DONE, Aws, Place, Told, places, power


def do(aws: Aws, action: Action) -> Told:
    """What became of an action."""
    return aws.do(action)[0]


def attached(aws: Aws, volume: str, node: str, device: str = "/dev/sdf") -> None:
    """A volume that is attached, and nothing under way."""
    assert do(aws, Attach(volume, node, device)) == DONE
    aws.settle()
    assert places(aws, volume) == (Place(node, Attached.ATTACHED),)


def stopped(aws: Aws, node: str) -> None:
    """A node that EC2 shows as stopped."""
    assert do(aws, Fence(node)) == DONE
    aws.settle()
    assert power(aws, node) is Power.STOPPED
