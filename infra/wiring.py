"""What Chalice does not set: retries, maximum age and dead letters, of functions and of rules.

Chalice puts each rule's target anew and so wipes its dead-letter queue and retry policy; they are
put back after each deployment.

A failed event is not tried again. Lambda would try after one and two minutes, but the node's next
heartbeat comes within 15 seconds, and the sweep within a minute: both know more than the old event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from infra.account import Account, Trouble
from infra.names import FUNCTIONS, Names
from infra.steps import Say
from infra.support import Support

EVENT_SECONDS_MOST: Final = 60
"""Lambda's least. An older event is worth less than the sweep."""

_INVOKE: Final = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": EVENT_SECONDS_MOST}
_TARGET_RETRIES: Final = {
    # Delivery to Lambda fails when Lambda throttles: worth a few tries, within the minute.
    "on_word": {"MaximumRetryAttempts": 4, "MaximumEventAgeInSeconds": EVENT_SECONDS_MOST},
    "on_signal": {"MaximumRetryAttempts": 4, "MaximumEventAgeInSeconds": EVENT_SECONDS_MOST},
    # The next sweep is the retry.
    "sweep": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": EVENT_SECONDS_MOST},
}

Target: TypeAlias = dict[str, Any]


@dataclass
class Wiring:
    """The step that sets how events are retried and where they go when they fail."""

    account: Account
    names: Names
    support: Callable[[], Support | None]
    title: str = "wiring"

    def changes(self) -> list[str]:
        """Functions and rules whose settings differ."""
        support = self.support()
        if support is None:
            return [f"set retries and dead letters of {f}" for f in FUNCTIONS]
        lines = []
        for function in FUNCTIONS:
            if self._invoke_config(function) != self._wanted(support):
                lines.append(f"set retries, age and dead letters of {function}")
            if self._targets(function) != self._wanted_targets(function, support):
                lines.append(f"set retries and dead letters of the rule of {function}")
        return lines

    def carry_out(self, say: Say) -> None:
        """Set them all; each call says all of its setting, so doing it twice is harmless."""
        support = self.support()
        if support is None:
            raise Trouble("The support stack is not ready, so there is nothing to wire. Repeat.")
        for function in FUNCTIONS:
            self.account.client("lambda").put_function_event_invoke_config(
                FunctionName=self.names.function(function), **self._wanted(support)
            )
            targets = self._wanted_targets(function, support)
            answer = self.account.client("events").put_targets(
                Rule=self.names.rule(function), Targets=targets
            )
            if answer.get("FailedEntryCount"):
                raise Trouble(f"EventBridge refused the target of {self.names.rule(function)}.")
            say(f"      {function}: wired")

    def _wanted(self, support: Support) -> dict[str, Any]:
        destination = {"OnFailure": {"Destination": support.dead_letters_arn}}
        return {**_INVOKE, "DestinationConfig": destination}

    def _invoke_config(self, function: str) -> dict[str, Any] | None:
        client = self.account.client("lambda")
        try:
            found = client.get_function_event_invoke_config(FunctionName=self.names.function(function))
        except client.exceptions.ResourceNotFoundException:
            return None
        destination = found.get("DestinationConfig", {}).get("OnFailure", {})
        return {
            **{key: found.get(key) for key in _INVOKE},
            "DestinationConfig": {"OnFailure": destination},
        }

    def _targets(self, function: str) -> list[Target]:
        client = self.account.client("events")
        try:
            targets: list[Target] = client.list_targets_by_rule(Rule=self.names.rule(function))["Targets"]
        except client.exceptions.ResourceNotFoundException:
            return []
        return targets

    def _wanted_targets(self, function: str, support: Support) -> list[Target]:
        return [
            {
                "Id": "1",  # the one that Chalice uses
                "Arn": self.account.place(self.names).arn(
                    "lambda", f"function:{self.names.function(function)}"
                ),
                "RetryPolicy": _TARGET_RETRIES[function],
                "DeadLetterConfig": {"Arn": support.dead_letters_arn},
            }
        ]
