"""Checks of the deployment that the cluster belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.preflight.facts import Facts, Finding, Severity


def rules_are_enabled(facts: Facts) -> Iterator[Finding]:
    """Without its rule a function hears nothing."""
    for function, state in facts.rules.items():
        if state != "ENABLED":
            yield Finding(
                "rule",
                facts.names.rule(function),
                f"the EventBridge rule that calls {function} is {state.lower()}",
                f"./baton deploy --stage {facts.names.stage}",
            )


def the_record_can_be_recovered(facts: Facts) -> Iterator[Finding]:
    """A table that was emptied by mistake can be restored."""
    if facts.recovery != "ENABLED":
        yield Finding(
            "recovery",
            facts.names.table,
            f"point-in-time recovery of the table is {facts.recovery.lower() or 'unknown'}",
            f"./baton deploy --stage {facts.names.stage}",
        )


def everything_was_answered(facts: Facts) -> Iterator[Finding]:
    """A check without an answer has found nothing, which is not the same as nothing wrong."""
    for question, why in facts.unanswered.items():
        yield Finding(
            "unanswered",
            question,
            f"AWS did not answer, so this was not checked: {why}",
            "Repeat with credentials that may read it.",
            Severity.WARNING,
        )


CHECKS: Final = (rules_are_enabled, the_record_can_be_recovered, everything_was_answered)
