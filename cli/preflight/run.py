"""All checks, run over the facts."""

from __future__ import annotations

from typing import Final

from cli.preflight import addresses, hosts, network, nodes, stage, volumes
from cli.preflight.facts import Check, Facts, Finding, Severity

CHECKS: Final[tuple[Check, ...]] = (
    *stage.CHECKS,
    *nodes.CHECKS,
    *volumes.CHECKS,
    *addresses.CHECKS,
    *network.CHECKS,
    *hosts.CHECKS,
)


def findings(facts: Facts) -> list[Finding]:
    """What is not as it should be, problems first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.PROBLEM)


def problems(found: list[Finding]) -> list[Finding]:
    """Those that would stop a hand-over or endanger data."""
    return [finding for finding in found if finding.severity is Severity.PROBLEM]
