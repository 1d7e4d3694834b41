"""The Lambda functions: a project directory for one stage, and `chalice deploy` in it.

The directory is state/deploy/<stage>: a copy of what the checkout ships, with a configuration and
policies of that one stage. So a deployment changes no file of the checkout, two stages do not share
one, and whoever prefers the plain command runs `chalice deploy --stage <stage>` there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra import policies
from infra.account import Account, Trouble
from infra.names import FUNCTIONS, STAGE_TAG, Names
from infra.steps import Say
from infra.support import Support

CHECKOUT: Final = Path(__file__).parent.parent
CHALICE_SECONDS: Final = 600
"""Packaging and three functions take about a minute; pip on a slow network takes longer."""

BUILD_TAG: Final = "baton:build"
_SHIPPED: Final = ("app.py", "requirements.txt", "chalicelib", "vendor")
_MODEL_STAGE: Final = "lab"
"""The checkout's configuration holds this stage; others take their settings from it."""


@dataclass
class Functions:
    """The step that brings the functions, their roles and rules up to date."""

    account: Account
    names: Names
    support: Callable[[], Support | None]
    checkout: Path = CHECKOUT
    state: Path = CHECKOUT / "state" / "deploy"
    title: str = "functions, roles and rules"

    @property
    def directory(self) -> Path:
        """The project directory of this stage."""
        return self.state / self.names.stage

    def changes(self) -> list[str]:
        """Functions whose code or configuration differ, and rules that are missing or disabled."""
        build = self.prepare()
        lines = []
        for function in FUNCTIONS:
            present = self._build_of(function)
            if present is None:
                lines.append(f"create {self.names.function(function)}, its role and its rule")
            elif present != build:
                lines.append(f"update {self.names.function(function)} ({present} to {build})")
            elif not self._rule_is_on(function):
                lines.append(f"put the rule {self.names.rule(function)} back")
        return lines

    def carry_out(self, say: Say) -> None:
        """Run `chalice deploy`, and show what it says."""
        self._enable_rules()
        command = [chalice(), "deploy", "--stage", self.names.stage]
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env=self.surroundings(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=CHALICE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise Trouble(
                f"`chalice deploy` did not end within {CHALICE_SECONDS} seconds and was stopped."
                " Run the same command again: it goes on where this one stopped."
            ) from late
        for line in done.stdout.splitlines():
            say(f"      {line}")
        if done.returncode:
            raise Trouble(
                "`chalice deploy` failed, its last lines above say why."
                " Mend that and run the same command again."
            )

    def prepare(self) -> str:
        """Lay out the project directory; a digest of what is in it."""
        support = self.support()
        missing = [name for name in ("app.py", "chalicelib") if not (self.checkout / name).exists()]
        if missing:
            raise Trouble(f"{self.checkout} is no checkout of Baton: {missing[0]} is missing.")
        for name in _SHIPPED:
            _replace(self.checkout / name, self.directory / name)
        chalice_directory = self.directory / ".chalice"
        policies.write(self.account.place(self.names), chalice_directory)
        config = self._config(support)
        build = _digest(self.directory, json.dumps(config, sort_keys=True))
        config["stages"][self.names.stage]["tags"][BUILD_TAG] = build
        text = json.dumps(config, indent=2) + "\n"
        (chalice_directory / "config.json").write_text(text, encoding="utf-8")
        return build

    def remove(self, say: Say) -> None:
        """Remove rules, functions and roles, by name, whatever Chalice remembers of them."""
        for function in FUNCTIONS:
            self._remove_rule(function)
            self._remove_function(function)
            self._remove_role(function)
            say(f"      {self.names.function(function)}: removed")
        shutil.rmtree(self.directory, ignore_errors=True)

    def exist(self) -> bool:
        """Whether there is any of the functions."""
        return any(self._build_of(function) is not None for function in FUNCTIONS)

    def _config(self, support: Support | None) -> dict[str, Any]:
        file = self.checkout / ".chalice" / "config.json"
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        stages = config.get("stages", {})
        stage = dict(stages.get(self.names.stage) or stages.get(_MODEL_STAGE) or {})
        functions = {f: dict(stage.get("lambda_functions", {}).get(f, {})) for f in FUNCTIONS}
        for function, settings in functions.items():
            settings["autogen_policy"] = False
            settings["iam_policy_file"] = f"policy-{function}.json"
        stage["lambda_functions"] = functions
        stage["environment_variables"] = {
            **stage.get("environment_variables", {}),
            **environment(self.account, self.names, support),
        }
        stage["tags"] = {**stage.get("tags", {}), STAGE_TAG: self.names.stage}
        return {**config, "stages": {self.names.stage: stage}}

    def surroundings(self) -> dict[str, str]:
        """The environment of chalice's process. It imports the app, whose bytecode would be shipped."""
        region = {"AWS_DEFAULT_REGION": self.account.region, "AWS_REGION": self.account.region}
        return {**os.environ, **region, "PYTHONDONTWRITEBYTECODE": "1"}

    def _build_of(self, function: str) -> str | None:
        client = self.account.client("lambda")
        try:
            found = client.get_function(FunctionName=self.names.function(function))
        except client.exceptions.ResourceNotFoundException:
            return None
        return str(found.get("Tags", {}).get(BUILD_TAG, "unknown"))

    def _rule_is_on(self, function: str) -> bool:
        client = self.account.client("events")
        name = self.names.rule(function)
        try:
            rule = client.describe_rule(Name=name)
            targets = client.list_targets_by_rule(Rule=name)["Targets"]
        except client.exceptions.ResourceNotFoundException:
            return False
        return rule["State"] == "ENABLED" and bool(targets)

    def _enable_rules(self) -> None:
        """Chalice leaves a rule disabled that somebody disabled."""
        client = self.account.client("events")
        for function in FUNCTIONS:
            try:
                client.enable_rule(Name=self.names.rule(function))
            except client.exceptions.ResourceNotFoundException:
                continue

    def _remove_rule(self, function: str) -> None:
        client = self.account.client("events")
        name = self.names.rule(function)
        try:
            targets = client.list_targets_by_rule(Rule=name)["Targets"]
            if targets:
                client.remove_targets(Rule=name, Ids=[t["Id"] for t in targets])
            client.delete_rule(Name=name)
        except client.exceptions.ResourceNotFoundException:
            return

    def _remove_function(self, function: str) -> None:
        client = self.account.client("lambda")
        try:
            client.delete_function(FunctionName=self.names.function(function))
        except client.exceptions.ResourceNotFoundException:
            return

    def _remove_role(self, function: str) -> None:
        client = self.account.client("iam")
        role = self.names.function(function)
        try:
            for name in client.list_role_policies(RoleName=role)["PolicyNames"]:
                client.delete_role_policy(RoleName=role, PolicyName=name)
            for policy in client.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
                client.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
            client.delete_role(RoleName=role)
        except client.exceptions.NoSuchEntityException:
            return


def environment(account: Account, names: Names, support: Support | None) -> dict[str, str]:
    """What the functions are told of their stage."""
    return {
        "BATON_STAGE": names.stage,
        "BATON_TABLE": names.table,
        "BATON_IDEMPOTENCY_TABLE": names.idempotency_table,
        "BATON_NODE_ROLE_IDS": support.node_role_id if support else "not-known-yet",
        "BATON_ACCOUNT": account.id,
        "POWERTOOLS_SERVICE_NAME": names.prefix,
        "POWERTOOLS_METRICS_NAMESPACE": "Baton",
    }


def chalice() -> str:
    """The chalice of this Python's environment."""
    return str(Path(sys.executable).with_name("chalice"))


def _replace(source: Path, target: Path) -> None:
    """Copy a file or directory so that nothing older stays behind; no source, no target."""
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        shutil.copyfile(source, target)


def _digest(directory: Path, config: str) -> str:
    """Twelve hexadecimal digits that change with any file that is shipped."""
    digest = hashlib.sha256(config.encode())
    for file in sorted(_files(directory)):
        digest.update(str(file.relative_to(directory)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _files(directory: Path) -> Iterator[Path]:
    for name in _SHIPPED:
        path = directory / name
        yield from (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else ()
        if path.is_file():
            yield path
    yield from (directory / ".chalice").glob("policy-*.json")
