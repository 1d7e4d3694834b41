"""Deliberately broken builds: the verdicts must turn red, or they are worth nothing.

A break is an edit of a copy of the shipped source. Text that is not found exactly once means that
the source has changed: the break must be brought up to date, not skipped.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.demo.trouble import Trouble

CHECKOUT: Final = Path(__file__).resolve().parents[2]
SHIPPED: Final = ("app.py", "requirements.txt", "chalicelib", ".chalice", "vendor")
NOT_SHIPPED: Final = shutil.ignore_patterns("__pycache__", "deployed", "deployments")


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Break:
    """A build in which a guard or a step is missing."""

    what: str
    edits: tuple[Edit, ...]
    reddens: str
    """The verdict that must notice."""


BREAKS: Final = {
    "S2": Break(
        "volumes are taken by force from a node that was not asked to release",
        (
            Edit("chalicelib/handover.py", "    unclear = facts.unclear()\n", "    unclear = ()\n"),
            Edit(
                "chalicelib/steps.py",
                "plan += due(facts, Detach(view.volume, at.node))",
                "plan += due(facts, Detach(view.volume, at.node, force=True))",
            ),
        ),
        "S2",
    ),
    "address": Break(
        "AssignPrivateIpAddresses is left out",
        (Edit("chalicelib/handover.py", "    plan += steps.move(facts, owner)\n", ""),),
        "L1",
    ),
}


def build(name: str, directory: Path) -> Path:
    """A copy of what is deployed, broken in this way; the directory that it is in."""
    for entry in SHIPPED:
        source = CHECKOUT / entry
        if source.is_dir():
            shutil.copytree(source, directory / entry, ignore=NOT_SHIPPED)
        elif source.exists():
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, directory / entry)
    for edit in BREAKS[name].edits:
        path = directory / edit.file
        text = path.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise Trouble(
                f"--break {name} cannot be made: {edit.file} does not hold {edit.old.strip()!r} exactly"
                " once. The source has changed; bring lab/demo/broken.py up to date."
            )
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return directory
