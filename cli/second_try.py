"""Which tests of a stage failed, so that those that boot hosts can be tried once more.

Hosts, keepalived and block devices keep real time. On a machine that is busy with something else a
test of theirs may fail without a fault; one that fails twice in a row has one. A second try is said.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

MOST: Final = 12
"""More failures than that are no accident of timing."""


def failed(report: Path, root: Path) -> list[str]:
    """The node ids of the failed tests in a JUnit report; none if there are too many, or no report."""
    try:
        cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - pytest wrote it
        bad = [case for case in cases if any(case.find(what) is not None for what in ("failure", "error"))]
    except (OSError, ET.ParseError):
        return []
    found = {node_id(case.get("classname", ""), case.get("name", ""), root) for case in bad}
    return sorted(found) if len(found) <= MOST and "" not in found else []


def node_id(classname: str, name: str, root: Path) -> str:
    """`tests.lab_x.test_y` and `test_z[1]` as pytest names them; empty if there is no such file."""
    parts = classname.split(".")
    for length in range(len(parts), 0, -1):
        path = Path(*parts[:length]).with_suffix(".py")
        if (root / path).is_file():
            return "::".join([str(path), *parts[length:], name])
    return ""
