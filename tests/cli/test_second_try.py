"""A failed test of hosts is tried once more; what fails twice has failed."""

from __future__ import annotations

from pathlib import Path

from cli.second_try import MOST, failed

CASE = '<testcase classname="tests.lab_x.test_y" name="test_{n}"><failure>no</failure></testcase>'


def _report(folder: Path, cases: int) -> Path:
    (folder / "tests/lab_x").mkdir(parents=True)
    (folder / "tests/lab_x/test_y.py").touch()
    passed = '<testcase classname="tests.lab_x.test_y" name="test_fine"/>'
    report = folder / "report.xml"
    bad = "".join(CASE.format(n=n) for n in range(cases))
    report.write_text(f"<testsuites><testsuite>{passed}{bad}</testsuite></testsuites>")
    return report


def test_failed_tests_are_named_as_pytest_names_them(tmp_path: Path) -> None:
    """The file, then the test."""
    assert failed(_report(tmp_path, 2), tmp_path) == [
        "tests/lab_x/test_y.py::test_0",
        "tests/lab_x/test_y.py::test_1",
    ]


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    """They are not tried again."""
    assert failed(_report(tmp_path, MOST + 1), tmp_path) == []


def test_a_report_that_is_missing_names_nothing(tmp_path: Path) -> None:
    """A stage that was killed wrote none."""
    assert failed(tmp_path / "none.xml", tmp_path) == []
