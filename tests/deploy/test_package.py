"""The zip that `chalice deploy` uploads: what is in it, what is not, and how large it is."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import boto3
import pytest

from infra.account import Account
from infra.functions import CHECKOUT, Functions, chalice
from infra.names import Names

PACKAGE_SECONDS = 100
BYTES_MOST = 2_000_000
"""Powertools alone has 1.1 MB. Each further MB costs cold starts, which are outage."""

SHIPPED = {
    "app.py",
    "chalice",
    "chalicelib",
    "aws_lambda_powertools",
    "jmespath",
    "typing_extensions.py",
}
NOT_SHIPPED = (
    "boto3",  # Lambda has it
    "botocore",
    "s3transfer",
    "urllib3",
    "pydantic",  # costs 143 ms of each cold start
    "pydantic_core",
    "aws_xray_sdk",  # the tracer costs 347 ms
    "fastjsonschema",
    "tests",
    "lab",
    "cli",
    "infra",
    "node_hook",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The package, built as a deployment builds it, from a copy of what is shipped."""
    state = tmp_path_factory.mktemp("state")
    account = Account(boto3.Session(), "123456789012", "eu-central-1")
    functions = Functions(account, Names("lab"), lambda: None, CHECKOUT, state)
    functions.prepare()
    out = state / "out"
    built = subprocess.run(
        [chalice(), "package", "--stage", "lab", str(out)],
        cwd=functions.directory,
        env=functions.surroundings(),
        capture_output=True,
        text=True,
        timeout=PACKAGE_SECONDS,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return zipfile.ZipFile(out / "deployment.zip")


def top(package: zipfile.ZipFile) -> set[str]:
    """The first part of each path, without the packages' metadata."""
    names = {Path(name).parts[0] for name in package.namelist()}
    return {name for name in names if not name.endswith((".dist-info", ".data"))}


def test_the_zip_is_small(package: zipfile.ZipFile) -> None:
    """Under 2 MB."""
    assert Path(str(package.filename)).stat().st_size < BYTES_MOST


def test_the_zip_holds_the_orchestrator_and_its_requirements(package: zipfile.ZipFile) -> None:
    """Exactly the app, Chalice's runtime, and Powertools with what it needs."""
    assert top(package) == SHIPPED
    modules = {path.name for path in (CHECKOUT / "chalicelib").iterdir() if path.is_file()}
    inside = {Path(n).name for n in package.namelist() if n.startswith("chalicelib/")}
    assert inside == modules


def test_the_zip_holds_nothing_else(package: zipfile.ZipFile) -> None:
    """What Lambda has, what costs start-up time, and what is for people stays out."""
    inside = {entry.removesuffix(".py") for entry in top(package)}
    assert [name for name in NOT_SHIPPED if name in inside] == []
