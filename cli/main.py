"""The group of commands. A command is a module `cli/<name>.py` with a click command `command`.

Modules are imported only when their command is called, so that `./baton --help` and each command
start fast: boto3 alone costs a seventh of a second. A command whose module is not there is not
listed. The one-line helps stand here for the same reason.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

import click

HERE: Final = Path(__file__).parent

GROUPS: Final[dict[str, dict[str, str]]] = {
    "See it work": {
        "demo": "Run everything in a lab on this machine and break it on purpose.",
        "test": "Run the tests; --quick needs no root and takes a minute and a half.",
        "chaos": "Play random faults against the lab, with real hosts and file systems.",
        "simulate": "Play seeds of random faults against the core, in virtual time.",
        "explore": "Walk every interleaving of small scopes.",
        "trace": "Replay a story and show what Baton decides, step by step.",
        "mutants": "Remove each guard in turn and see that something notices.",
    },
    "Operate clusters": {
        "status": "Who owns each cluster, whether it is settled, and what it waits for.",
        "history": "The hand-overs of a cluster, with their timelines.",
        "handover": "Move a cluster to another node, in order, and follow it.",
        "pause": "Begin no hand-over of a cluster until it is resumed.",
        "resume": "End a pause.",
        "confirm-fenced": "Say that a node is off when Baton cannot find out by itself.",
    },
    "Set up": {
        "deploy": "Put a stage on AWS, or bring it up to date.",
        "destroy": "Remove a stage from AWS; data volumes stay.",
        "apply": "Check a cluster's definition and put it into force.",
        "check": "Find what would stop a cluster's next hand-over.",
        "node-user-data": "Print what a new node runs at its first boot.",
    },
}


def module_name(command: str) -> str:
    """The module of a command: `confirm-fenced` is `cli/confirm_fenced.py`, `test` is `run_tests`."""
    return {"test": "run_tests"}.get(command, command.replace("-", "_"))


def exists(command: str) -> bool:
    """Whether the command's module or package is there, found without importing it."""
    name = module_name(command)
    return (HERE / f"{name}.py").exists() or (HERE / name / "__init__.py").exists()


class LazyGroup(click.Group):
    """Finds commands by the table above and imports a module when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands that are there, in the table's order."""
        return [name for commands in GROUPS.values() for name in commands if exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found = importlib.import_module(f"cli.{module_name(cmd_name)}").command
        if not isinstance(found, click.Command):
            raise TypeError(f"cli/{module_name(cmd_name)}.py: `command` is not a click command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, in groups, without importing any."""
        known = self.list_commands(ctx)
        for title, commands in GROUPS.items():
            rows = [(name, text) for name, text in commands.items() if name in known]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def baton() -> None:
    """Baton passes a service address and its volumes from one EC2 node to another.

    `./baton COMMAND --help` explains a command. Commands that speak to AWS take --stage, or
    BATON_STAGE from the environment.
    """
