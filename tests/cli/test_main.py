"""The commands are found without being imported, and each of them explains itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import main

ROOT = Path(__file__).parents[2]
HEAVY = ("boto3", "botocore", "moto", "rich", "aws_lambda_powertools")
THERE = [name for commands in main.GROUPS.values() for name in commands if main.exists(name)]


@pytest.mark.parametrize("name", THERE)
def test_each_command_explains_itself(name: str) -> None:
    """Its module holds a click command with a help text."""
    command = main.baton.get_command(click.Context(main.baton), name)
    assert command is not None and command.help
    assert CliRunner().invoke(main.baton, [name, "--help"]).exit_code == 0


def test_the_list_holds_what_is_there() -> None:
    """Every command whose module exists, and no other."""
    shown = CliRunner().invoke(main.baton, ["--help"]).output
    for commands in main.GROUPS.values():
        for name, text in commands.items():
            assert (text in " ".join(shown.split())) is main.exists(name), name


def test_an_unknown_command_is_an_error() -> None:
    """With the usage, not with a traceback."""
    result = CliRunner().invoke(main.baton, ["frobnicate"])
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_help_imports_no_sdk() -> None:
    """The list of commands is there at once: boto3, moto and powertools stay out."""
    script = "import sys; from cli.main import baton; baton(['--help'], standalone_mode=False);"
    script += f"print([m for m in {HEAVY!r} if m in sys.modules])"
    program = [sys.executable, "-c", script]
    told = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
