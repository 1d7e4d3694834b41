"""The house keeps its shape: who imports whom, how long things are, and what text may not hold."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CORE: Final = (
    *("model", "timing", "asking", "facts", "ownership", "granting", "contest", "unfinished", "rulings"),
    *("notices", "yielding"),
    *("handover", "steps", "fencing", "progress", "news", "decide", "reconcile"),
)
MODULE_LINES: Final = 300
LONGER: Final = {
    "chalicelib/model.py": "the vocabulary: declarations and what they mean, looked up rather than read",
}
"""Modules that may be longer, and why."""
FUNCTION_LINES: Final = 70
FUNCTION_MEDIAN: Final = 12
SHIPPED: Final = ("app.py", "chalicelib", "node_hook", "cli", "lab", "infra")


def tracked(*under: str) -> list[Path]:
    """Files of the repository, as git knows them: what is ignored does not count."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--", *under], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = (ROOT / name for name in names.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def modules(*under: str) -> list[Path]:
    """The Python modules among them."""
    return [path for path in tracked(*under) if path.suffix == ".py"]


@cache
def tree(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text(), str(path))


def lines_of_code(path: Path) -> int:
    """Lines that hold code: no blank ones, no comments, no prose in strings that stand alone."""
    prose: set[int] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.end_lineno:
            prose |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(path.read_text().splitlines(), start=1)
    return sum(1 for number, line in lines if number not in prose and line.strip() and line.strip()[0] != "#")


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's place and its lines, from `def` to its end."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def imported(path: Path) -> set[str]:
    """Top-level names and, for chalicelib, modules that a module imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("name", CORE)
def test_core_is_pure(name: str) -> None:
    """The core imports the standard library and itself: no AWS, clock, randomness or logging."""
    path = ROOT / "chalicelib" / f"{name}.py"
    if not path.exists():
        pytest.skip("not written yet")
    forbidden = {"time", "datetime", "random", "secrets", "uuid", "logging", "os", "threading", "socket"}
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        for name_ in imported(current):
            top, _, rest = name_.partition(".")
            assert top == "chalicelib" or top in sys.stdlib_module_names, f"{current.name} imports {name_}"
            assert top not in forbidden, f"{current.name} imports {name_}"
            inner = ROOT / "chalicelib" / f"{rest.partition('.')[0]}.py"
            if top == "chalicelib" and inner.exists() and inner.name not in seen:
                seen.add(inner.name)
                waiting.append(inner)


def test_what_is_deployed_knows_no_emulator() -> None:
    """Nothing in app, chalicelib and node_hook names moto, the lab, the tests or a test's mode."""
    for path in modules("app.py", "chalicelib", "node_hook"):
        tops = {name.partition(".")[0] for name in imported(path)}
        assert not tops & {"moto", "lab", "cli", "tests", "pytest", "hypothesis"}, path


@pytest.mark.parametrize("path", modules(*SHIPPED), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_short(path: Path) -> None:
    """A module fits in a reader's head."""
    if str(path.relative_to(ROOT)) not in LONGER:
        assert len(path.read_text().splitlines()) <= MODULE_LINES


def test_functions_are_short() -> None:
    """A function fits on a screen, and most are much shorter."""
    lengths = dict(pair for path in modules(*SHIPPED) for pair in functions(path))
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}
    assert statistics.median(lengths.values()) <= FUNCTION_MEDIAN


@pytest.mark.parametrize("name", ["ownership", "handover"])
def test_the_two_halves_can_be_read_at_once(name: str) -> None:
    """Who owns, and the way there: each in one file, in at most 150 lines beside its prose."""
    path = ROOT / "chalicelib" / f"{name}.py"
    if not path.exists():
        pytest.skip("not written yet")
    opening = len((ast.get_docstring(tree(path)) or "").splitlines())
    assert opening >= 5, "it opens with its theory of operation"
    assert lines_of_code(path) <= 150


@pytest.mark.parametrize("path", modules("node_hook"), ids=lambda p: p.name)
def test_node_runs_on_python_3_9(path: Path) -> None:
    """Nodes run their distribution's Python, 3.9 and newer: neither its syntax nor its names are newer."""
    text = path.read_text()
    ast.parse(text, str(path), feature_version=(3, 9))
    assert not {n for n in imported(path) if n.startswith("tomllib") or n == "enum.StrEnum"}, path
    assert "slots=True" not in text, "dataclasses have no slots before 3.10"


ELSEWHERE: Final = re.compile(r"(?<![\w.~/-])/(work|farm|root/\.pyenv|home/\w+)/")
SELF: Final = Path(__file__)


def test_no_paths_of_one_machine() -> None:
    """The repository stands by itself: no path of the machine that it was written on."""
    for path in tracked():
        if path != SELF and path.suffix in {".py", ".md", ".toml", ".yaml", ".json", ".txt", ".sh", ""}:
            found = ELSEWHERE.search(path.read_text(errors="replace"))
            assert not found, f"{path.relative_to(ROOT)}: {found and found.group()}"


@pytest.mark.parametrize("path", modules(*SHIPPED), ids=lambda p: str(p.relative_to(ROOT)))
def test_names_say_something(path: Path) -> None:
    """No module and no function is called after nothing."""
    empty = re.compile(r"^(utils?|helpers?|misc|common|stuff|foo|tmp|do_(it|stuff)|process_data)$")
    assert not empty.match(path.stem), path
    assert [name for name, _ in functions(path) if empty.match(name.split()[-1])] == []
