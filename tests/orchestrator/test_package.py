"""What is deployed: small, and complete with nothing but what Lambda itself holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIZE_MOST = 2_000_000
"""Bytes of the zip: a larger one starts slower."""

LEFT_OUT = ("boto3/", "botocore/", "pydantic/", "pydantic_core/", "aws_xray_sdk/", "s3transfer/")

IMPORTS = """
import sys
import app
names = {name.partition(".")[0] for name in sys.modules}
print(*sorted(names & {"pydantic", "aws_xray_sdk", "jsonschema", "fastjsonschema", "yaml"}))
print(*sorted(app.app.handler_map))
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip that `chalice package` makes."""
    out = tmp_path_factory.mktemp("package")
    project = out / "project"
    project.mkdir()
    for name in ("app.py", "requirements.txt", "chalicelib"):
        (project / name).symlink_to(ROOT / name)
    (project / ".chalice").mkdir()
    for file in (ROOT / ".chalice").glob("*.json"):
        shutil.copy(file, project / ".chalice")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "chalice"), "package", "--stage", "lab", str(out)],
        cwd=project,
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "deployment.zip"


def test_the_zip_is_small_and_holds_the_house_and_nothing_lambda_has(package: Path) -> None:
    """Neither the SDK, nor what starts slowly, nor a part of the checkout that is not shipped."""
    assert package.stat().st_size < SIZE_MOST
    names = zipfile.ZipFile(package).namelist()
    assert [name for name in names if name.startswith(LEFT_OUT)] == []
    assert {name.partition("/")[0] for name in names} & {"lab", "tests", "cli", "node_hook"} == set()
    assert {"app.py", "chalicelib/cluster.schema.json", "chalicelib/handover.py"} <= set(names)


def test_the_zip_runs_where_only_lambda_s_own_packages_are(package: Path) -> None:
    """A requirement that is missing from the zip would show here, not at the first failover."""
    runtime = ROOT / ".venv-lambda" / "bin" / "python"
    if not runtime.exists():
        pytest.skip("no .venv-lambda yet: ./baton makes it")
    code = package.parent / "code"
    zipfile.ZipFile(package).extractall(code)
    done = subprocess.run(
        [str(runtime), "-c", IMPORTS],
        cwd=code,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(code), "BATON_STAGE": "lab"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["", "on_signal on_word sweep"]
