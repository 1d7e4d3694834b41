"""Writes LICENSES.md: the packages of the pinned requirements with their licences, from pip's metadata.

.venv/bin/python tools/licences.py > LICENSES.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
CLASSIFIER: Final = "License :: "
DEBIAN: Final = {
    "keepalived": "GPL-2.0-or-later",
    "iproute2": "GPL-2.0-only",
    "iptables": "GPL-2.0-or-later",
    "mount, util-linux": "GPL-2.0-or-later",
    "e2fsprogs": "GPL-2.0-only",
    "xfsprogs": "GPL-2.0-only",
    "psmisc": "GPL-2.0-or-later",
    "lsof": "lsof's own permissive licence",
    "curl": "curl",
    "fdisk": "GPL-2.0-or-later",
    "strace": "LGPL-2.1-or-later",
    "nodejs": "MIT, and those of the libraries in it",
    "npm": "Artistic-2.0",
}
"""Installed by Debian's own package manager, for the lab and its tests only, and run as programs."""
EVALUATOR: Final = "tests/deploy/iam/package-lock.json"


def pinned(name: str) -> list[str]:
    """The packages of a requirements file."""
    return re.findall(r"^([\w.-]+)==", (ROOT / name).read_text(), re.MULTILINE)


def licence(package: str) -> str:
    """What a package says of its licence: its SPDX expression, else classifiers, else a short text."""
    told = metadata.metadata(package)
    expression = told["License-Expression"] if "License-Expression" in told else ""
    if expression:
        return expression
    classifiers = [c for c in told.get_all("Classifier", ()) if c.startswith(CLASSIFIER)]
    classified = [c.rpartition(" :: ")[2] for c in classifiers]
    text = told["License"].strip() if "License" in told else ""
    short = text if text and "\n" not in text and len(text) < 60 else ""
    return "; ".join(c for c in classified if c != "OSI Approved") or short or "see its distribution"


def lines() -> Iterator[str]:
    """The document."""
    yield "# Licences of what Baton uses"
    yield ""
    yield "Written by `tools/licences.py` from the packages' own metadata. Baton ships none of them,"
    yield "except that `chalice deploy` packs those of `requirements.txt` into the Lambda's zip."
    yield ""
    yield "| Python package | version | licence |"
    yield "|---|---|---|"
    for package in sorted(set(pinned("requirements-dev.txt")) | set(pinned("requirements-lambda.txt"))):
        yield f"| {package} | {metadata.version(package)} | {licence(package)} |"
    yield ""
    yield "| Debian package, for the lab and its tests | licence |"
    yield "|---|---|"
    for package, name in DEBIAN.items():
        yield f"| {package} | {name} |"
    yield ""
    yield "An IAM evaluator that is not ours checks the policies in `tests/deploy`. It is under the AGPL: a"
    yield "tool of the tests alone, fetched by `npm ci`, run unchanged in its own process, never shipped."
    yield ""
    yield "| npm package, for tests | version | licence |"
    yield "|---|---|---|"
    locked = json.loads((ROOT / EVALUATOR).read_text())["packages"]
    for place, package in sorted(locked.items()):
        if place:
            yield f"| {place.removeprefix('node_modules/')} | {package['version']} | {package['license']} |"


if __name__ == "__main__":
    print("\n".join(lines()))
