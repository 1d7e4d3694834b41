"""What is installed is pinned, hash-checked, accounted for, and nothing more than that is used."""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from typing import Final

import pytest

from tests.architecture.test_shape import ROOT, imported, modules

OURS: Final = {"app", "baton", "bench", "chalicelib", "cli", "infra", "lab", "node_hook", "tests", "tools"}
ELSEWHERE: Final = {"awslambdaric"}
"""In the environment that stands for Lambda's."""


def pinned(name: str) -> dict[str, str]:
    """Packages and versions of a requirements file, by their normalised names."""
    text = (ROOT / name).read_text()
    return {_normal(n): v for n, v in re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_requirements_name_no_host() -> None:
    """Where packages come from is the machine's business; that they are the right ones, ours."""
    for path in ROOT.glob("requirements*.txt"):
        text = path.read_text()
        assert "://" not in text and "--find-links" not in text and "index-url" not in text, path


def test_requirements_are_pinned_and_hashed() -> None:
    """Each requirement of the two environments has a version and a hash."""
    for name in ("requirements-dev.txt", "requirements-lambda.txt"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.slow
def test_what_is_imported_is_required() -> None:
    """A package that somebody installed by hand does not make the tests green."""
    provided = metadata.packages_distributions()
    required = pinned("requirements-dev.txt").keys()
    missing: set[str] = set()
    for path in modules("app.py", "chalicelib", "cli", "infra", "lab", "bench", "tools", "tests"):
        for top in {name.partition(".")[0] for name in imported(path)} - OURS - ELSEWHERE:
            inner = (path.parent / f"{top}.py").exists()
            if top not in sys.stdlib_module_names and not inner:
                names = {_normal(name) for name in provided.get(top, [])}
                if not names & required:
                    missing.add(f"{top} in {path.relative_to(ROOT)}")
    assert missing == set()


def test_what_the_lambda_ships_is_what_the_tests_run() -> None:
    """The zip's requirements have the versions of the environment that the tests use."""
    if not (ROOT / "requirements.txt").exists():
        return
    here = pinned("requirements-dev.txt")
    for name, version in pinned("requirements.txt").items():
        assert here.get(name) == version, name


def test_each_package_has_its_licence_listed() -> None:
    """LICENSES.md is complete and up to date: `tools/licences.py` writes it."""
    text = (ROOT / "LICENSES.md").read_text()
    rows = re.findall(r"^\| ([\w.-]+) \| ([\w.+!-]+) \| (.+) \|$", text, re.MULTILINE)
    listed = {_normal(name): version for name, version, licence in rows if licence.strip()}
    wanted = pinned("requirements-dev.txt") | pinned("requirements-lambda.txt")
    assert {name: listed.get(name) for name in wanted} == wanted


def test_each_tool_of_the_tests_has_its_licence_listed() -> None:
    """What the launcher installs, and what npm does."""
    text = (ROOT / "LICENSES.md").read_text()
    tables = re.findall(r"^DEBIAN\w* = \{.*?^\}", (ROOT / "baton").read_text(), re.MULTILINE | re.DOTALL)
    debian = {package for table in tables for package in re.findall(r': "([\w.+-]+)",', table)}
    lock = json.loads((ROOT / "tests" / "deploy" / "iam" / "package-lock.json").read_text())
    npm = {place.removeprefix("node_modules/") for place in lock["packages"] if place}
    assert {"keepalived", "npm"} <= debian and npm
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    assert (debian | npm) - {name for cell in cells for name in cell.split(", ")} == set()
