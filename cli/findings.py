"""Findings of the preflight, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from cli.preflight.facts import Finding, Severity

_MARK = {Severity.PROBLEM: ("problem", "red"), Severity.WARNING: ("warning", "yellow")}


def show(found: Sequence[Finding]) -> None:
    """One finding a paragraph: what is wrong, and what to do."""
    for finding in found:
        mark, colour = _MARK[finding.severity]
        head = click.style(f"{mark:8}", fg=colour)
        click.echo(f"{head}{finding.subject}: {finding.text}.")
        click.echo(f"        → {finding.remedy}")


def to_json(cluster: str, found: Sequence[Finding]) -> str:
    """The findings as one JSON object."""
    rows = [asdict(finding) for finding in found]
    return json.dumps({"version": 1, "cluster": cluster, "findings": rows}, indent=2)
