"""What the rule of ownership can say: four frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from chalicelib.model import Reason


@dataclass(frozen=True, slots=True)
class Keep:
    """The owner stays, and its hand-over goes on. `refuse`: an open challenge was answered."""

    because: str
    refuse: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """A new epoch for this node.

    `mend`: volumes to be taken off it and attached anew. `spare`: it was about to be fenced.
    """

    node: str
    because: str
    mend: tuple[str, ...] = ()
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """Challenge the owner to release unless it is master, and ask the claimant for `status`."""

    owner: str
    claimant: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Block:
    """Nothing can move for this reason. `refuse`: an open challenge led to nothing."""

    reason: Reason
    text: str
    refuse: bool = False


Ruling: TypeAlias = Keep | Grant | Call | Block
