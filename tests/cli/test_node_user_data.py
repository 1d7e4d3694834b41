"""The user data of a node is a script that installs these very files for this very cluster."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

from cli.node_user_data import USER_DATA_MOST, node_package
from tests.cli.conftest import Stage


def printed(stage: Stage, write: Path, url: str = "https://files.example/baton?a=1&b='2'") -> str:
    """What the command prints for a package at this URL."""
    result = stage.run("node-user-data", "orders", "--package", url, "--write", str(write))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_script_is_sound_and_small(stage: Stage, tmp_path: Path) -> None:
    """A shell takes it, whatever the URL holds, and so does EC2."""
    text = printed(stage, tmp_path / "package")
    assert subprocess.run(["sh", "-n"], input=text, text=True, timeout=10, check=False).returncode == 0
    assert len(text.encode()) <= USER_DATA_MOST
    assert text.startswith("#!/bin/sh\n")


def test_the_package_is_the_one_that_the_script_expects(stage: Stage, tmp_path: Path) -> None:
    """Its hash is in the script, and packing again gives the same bytes."""
    text = printed(stage, tmp_path / "package")
    content = (tmp_path / "package").read_bytes()
    assert hashlib.sha256(content).hexdigest() in text
    assert node_package() == content


def test_the_package_renders_the_node(stage: Stage, tmp_path: Path) -> None:
    """Unpacked on a node, it makes that node's files from the definition in the script."""
    text = printed(stage, tmp_path / "package")
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "package").read_bytes()), mode="r:xz") as archive:
        archive.extractall(tmp_path, filter="data")
    definition = text.split("<<'END OF DEFINITION'\n")[1].split("\nEND OF DEFINITION")[0]
    (tmp_path / "definition.json").write_text(definition)
    peers = next(line.split()[:2] for line in text.splitlines() if line.strip().startswith(f"{stage.a}="))
    render = [sys.executable, str(tmp_path / "node_hook" / "render.py"), str(tmp_path / "definition.json")]
    arguments = [stage.a, stage.names.stage, "eu-west-1", str(tmp_path / "files"), *peers]
    subprocess.run([*render, *arguments], timeout=30, check=True)
    config = json.loads((tmp_path / "files/etc/baton/node.json").read_text())
    assert (config["cluster"], config["node"]) == ("orders", stage.a)
    assert stage.address in (tmp_path / "files/etc/keepalived/keepalived.conf").read_text()
