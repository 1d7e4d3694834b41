"""docs/security.md names a test for each claim; those tests are there."""

from __future__ import annotations

import re

import pytest

from infra.functions import CHECKOUT
from tests.deploy.test_iam import CASES

TEXT = (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED_CASES = sorted(set(re.findall(r"\[([a-z][^\]]+)\](?!\()", TEXT)))
NAMED_PATHS = sorted(set(re.findall(r"`((?:tests|node_hook)/[\w/.]+)`", TEXT)))
NAMED_TESTS = sorted(set(re.findall(r"`(test_\w+)`", TEXT)))


@pytest.mark.parametrize("case", NAMED_CASES)
def test_each_case_is_judged(case: str) -> None:
    """A case in brackets is one of those that the IAM evaluator judges."""
    assert case in CASES


@pytest.mark.parametrize("path", NAMED_PATHS)
def test_each_file_is_there(path: str) -> None:
    """A path names a file, or a folder with tests in it."""
    found = CHECKOUT / path
    assert found.is_file() or list(found.glob("test_*.py"))


@pytest.mark.parametrize("name", NAMED_TESTS)
def test_each_test_is_there(name: str) -> None:
    """A test that is named exists somewhere."""
    files = (CHECKOUT / "tests").rglob("test_*.py")
    assert any(f"def {name}(" in file.read_text(encoding="utf-8") for file in files)


def test_no_case_is_left_unmentioned() -> None:
    """What is refused by IAM is a line of the threat model."""
    from tests.deploy.test_iam import REFUSED

    assert set(REFUSED) - set(NAMED_CASES) <= {
        "attach to an instance without the tag",
        "move an address to a stranger's interface",
        "another stage's definitions",
        "publish without a source",
    }
