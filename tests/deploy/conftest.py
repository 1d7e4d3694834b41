"""An embedded AWS, a small project to deploy, and the account that the commands see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.account import Account, connect
from infra.functions import Functions
from infra.names import Names
from infra.stack import SupportStack
from infra.steps import Step
from infra.wiring import Wiring
from lab.cloud import Cloud, Latencies

APP = """
import os
from chalice import Chalice, Rate
app = Chalice(app_name="baton")
STAGE = os.environ["BATON_STAGE"]

@app.on_cw_event({"source": [{"prefix": f"baton.{STAGE}.node/"}]})
def on_word(event):
    return {}

@app.on_cw_event({"source": ["aws.ec2"]})
def on_signal(event):
    return {}

@app.schedule(Rate(1, unit=Rate.MINUTES))
def sweep(event):
    return {}
"""


@dataclass(frozen=True)
class Project:
    """A checkout, small enough to be packaged in a second, and where its state goes."""

    checkout: Path
    state: Path
    documents: Path

    def stack(self, account: Account, stage: str) -> SupportStack:
        """The stack's step, with little patience."""
        return SupportStack(account, Names(stage), documents=self.documents, poll_seconds=0.05)

    def steps(self, account: Account, stage: str) -> list[Step]:
        """The steps of `./baton deploy`."""
        names, stack = Names(stage), self.stack(account, stage)
        functions = Functions(account, names, stack.outputs, self.checkout, self.state)
        return [stack, functions, Wiring(account, names, stack.outputs)]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One AWS for a module; the tests use different stages."""
    with Cloud.start(latencies=Latencies.fast()) as running:
        yield running


@pytest.fixture
def account(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The operator's account; the environment is what the SDK reads."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return connect()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout with an app of three functions that do nothing."""
    checkout, documents = tmp_path / "checkout", tmp_path / "documents"
    for directory in (checkout / "chalicelib", checkout / ".chalice", documents):
        directory.mkdir(parents=True)
    (checkout / "app.py").write_text(APP)
    (checkout / "requirements.txt").write_text("")
    (checkout / "chalicelib" / "__init__.py").write_text("")
    config = {"version": "2.0", "app_name": "baton", "stages": {"lab": {}}}
    (checkout / ".chalice" / "config.json").write_text(json.dumps(config))
    step = {"action": "aws:runShellScript", "name": "x", "inputs": {"runCommand": ["true"]}}
    document = {"schemaVersion": "2.2", "description": "stand-in", "mainSteps": [step]}
    for file in ("orchestrator.json", "people.json"):
        (documents / file).write_text(json.dumps(document))
    return Project(checkout, tmp_path / "state", documents)
