"""The names of everything that one stage owns, and the only rule for a stage's own name.

Two stages in one account share nothing: each name, tag, event source and pattern carries the stage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

STAGE_PATTERN: Final = re.compile(r"[a-z][a-z0-9-]{0,15}")
FUNCTIONS: Final = ("on_word", "on_signal", "sweep")
STAGE_TAG: Final = "baton:stage"
CLUSTER_TAG: Final = "baton:cluster"


class BadStage(ValueError):
    """A stage name that could not be part of resource names."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one stage's resources; refuses a stage name that AWS would refuse somewhere."""

    stage: str

    def __post_init__(self) -> None:
        if not STAGE_PATTERN.fullmatch(self.stage):
            raise BadStage(
                f"{self.stage!r} cannot be a stage name: use 1 to 16 lower-case letters, digits and"
                " dashes, beginning with a letter, for example prod."
            )

    @property
    def prefix(self) -> str:
        """What each name of the stage begins with."""
        return f"baton-{self.stage}"

    @property
    def stack(self) -> str:
        """The support stack."""
        return f"{self.prefix}-support"

    @property
    def table(self) -> str:
        """The table of records, words, history and audit."""
        return self.prefix

    @property
    def idempotency_table(self) -> str:
        """The table that keeps duplicate events out."""
        return f"{self.prefix}-idempotency"

    @property
    def dead_letters(self) -> str:
        """The queue of events that could not be delivered or handled."""
        return f"{self.prefix}-dead-letters"

    @property
    def node_role(self) -> str:
        """The nodes' role and their instance profile."""
        return f"{self.prefix}-node"

    @property
    def orchestrator_document(self) -> str:
        """The SSM document that only the Lambda functions may send."""
        return f"{self.prefix}-orchestrator"

    @property
    def people_document(self) -> str:
        """The SSM document that people send."""
        return f"{self.prefix}-people"

    @property
    def definitions(self) -> str:
        """Path of the cluster definitions in Parameter Store."""
        return f"/baton/{self.stage}/clusters"

    @property
    def node_source(self) -> str:
        """What the source of each node's events begins with."""
        return f"baton.{self.stage}.node/"

    def definition(self, cluster: str) -> str:
        """Parameter that holds one cluster's definition."""
        return f"{self.definitions}/{cluster}"

    def function(self, function: str) -> str:
        """A Lambda function, which is also the name of its role."""
        return f"{self.prefix}-{function}"

    def rule(self, function: str) -> str:
        """The EventBridge rule that calls a function, as Chalice names it."""
        return f"{self.prefix}-{function}-event"

    def log_group(self, function: str) -> str:
        """The log group of a function."""
        return f"/aws/lambda/{self.function(function)}"
