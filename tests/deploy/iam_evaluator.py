"""Asks an independent IAM evaluator (npm, in a process of its own) what policies allow."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

HERE: Final = Path(__file__).parent / "iam"
EVALUATE_SECONDS: Final = 40
INSTALL_SECONDS: Final = 120
ACCOUNT: Final = "123456789012"


@dataclass(frozen=True)
class Request:
    """One call, as IAM sees it: who, what, on which resource, with which context keys."""

    policies: Sequence[Mapping[str, Any]]
    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    principal: str = f"arn:aws:sts::{ACCOUNT}:assumed-role/some-role/session"
    resource_policy: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.action} on {self.resource} with {dict(self.context)}"


@dataclass(frozen=True)
class Verdict:
    """The evaluator's answer. `ignored`: context keys that AWS does not offer for this action."""

    allowed: bool
    text: str
    ignored: tuple[str, ...]
    by: tuple[str, ...]
    """Statements that allow it."""


def evaluate(requests: Sequence[Request]) -> list[Verdict]:
    """The verdict on each request, in order."""
    _installed()
    asked = [_as_json(request) for request in requests]
    done = subprocess.run(
        ["node", "evaluate.mjs"],
        cwd=HERE,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=EVALUATE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return [_verdict(r, answer) for r, answer in zip(requests, answers, strict=True)]


def _as_json(request: Request) -> dict[str, Any]:
    return {
        "policies": request.policies,
        "resourcePolicy": request.resource_policy,
        "principal": request.principal,
        "action": request.action,
        "resource": request.resource,
        "account": ACCOUNT,
        "context": request.context,
    }


def _verdict(request: Request, answer: Mapping[str, Any]) -> Verdict:
    assert "error" not in answer, f"{request}: {answer['error']}"
    text = answer["verdict"]
    return Verdict(text == "Allowed", text, tuple(answer["ignored"]), tuple(answer["by"]))


def _installed() -> None:
    """Install the evaluator, once, from its lock file; no node means no proof."""
    if not shutil.which("npm"):
        missing = "the IAM proof needs node and npm: apt-get install nodejs npm"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with (HERE / "package-lock.json").open() as lock:
        # Two workers may come here at once, and `npm ci` begins by removing what is there.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (HERE / "node_modules" / ".package-lock.json").exists():  # npm writes it last
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=HERE, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL)
