"""The support stack without AWS: linted, small enough, and in step with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib.telling import count
from infra import template
from infra.account import Account
from infra.functions import CHECKOUT, environment
from infra.names import Names

RESOURCES = template.load()["Resources"]


@pytest.mark.slow
def test_the_template_is_clean(tmp_path: Path) -> None:
    """cfn-lint has nothing to say, of the file and of what is deployed, documents included.

    CloudFormation takes a document as text or as an object; cfn-lint looks into objects only.
    """
    content = json.loads(template.body())
    for resource in ("OrchestratorDocument", "PeopleDocument"):
        properties = content["Resources"][resource]["Properties"]
        properties["Content"] = json.loads(properties["Content"])
    deployed = tmp_path / "deployed.json"
    deployed.write_text(json.dumps(content))
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(template.TEMPLATE)]
    done = subprocess.run([*command, str(deployed)], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_template_fits_into_one_call() -> None:
    """Larger ones need a bucket."""
    assert len(template.body().encode()) < template.BODY_BYTES_MOST


@pytest.mark.parametrize("resource", ["OrchestratorDocument", "PeopleDocument"])
def test_documents_hand_parameters_over_safely(resource: str) -> None:
    """Each parameter has a pattern and arrives as an environment variable, not as pasted text."""
    properties = template.rendered()["Resources"][resource]["Properties"]
    document = json.loads(properties["Content"])
    for name, parameter in document["parameters"].items():
        assert parameter["interpolationType"] == "ENV_VAR", name
        assert parameter["allowedPattern"].startswith("^"), name
        assert parameter["allowedPattern"].endswith("$"), name
    assert "{{" not in properties["Content"]
    assert properties["UpdateMethod"] == "NewVersion"


def emitted() -> set[str]:
    """The metrics that the orchestrator's code emits: counted by name, or by kind of news."""
    text = "\n".join(p.read_text() for p in (CHECKOUT / "chalicelib").glob("*.py"))
    counted = set(re.findall(r'\bcount\(\s*"(\w+)"', text))
    counted |= set(re.findall(r'self\.count\("\w+" if [^\n]* else "(\w+)"\)', text))
    news = re.findall(r'News\(\s*"([\w-]+)"', text)
    return counted | {"".join(part.capitalize() for part in kind.split("-")) for kind in news}


@pytest.mark.parametrize(
    "metric",
    sorted(
        r["Properties"]["MetricName"]
        for r in RESOURCES.values()
        if r["Type"] == "AWS::CloudWatch::Alarm" and r["Properties"]["Namespace"] == "Baton"
    ),
)
def test_each_alarm_watches_a_metric_that_exists(metric: str) -> None:
    """An alarm on a metric that nobody emits sleeps for ever."""
    assert metric in emitted()


ALARMS = {n: r["Properties"] for n, r in RESOURCES.items() if r["Type"] == "AWS::CloudWatch::Alarm"}


@pytest.mark.parametrize("alarm", sorted(n for n, p in ALARMS.items() if p["Namespace"] == "Baton"))
def test_each_alarm_looks_where_the_functions_write(
    alarm: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric of other dimensions is another metric: stage and service are those of the deployment."""
    names = Names("prod")
    told = environment(Account(boto3.Session(), "123456789012", "eu-central-1"), names, None)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    count(ALARMS[alarm]["MetricName"], told["BATON_STAGE"])
    written = json.loads(capsys.readouterr().out)
    (dimensions,) = written["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    watched = {d["Name"]: filled(d["Value"], "prod") for d in ALARMS[alarm]["Dimensions"]}
    assert {name: written[name] for name in dimensions} == watched
    assert written["_aws"]["CloudWatchMetrics"][0]["Namespace"] == told["POWERTOOLS_METRICS_NAMESPACE"]


def filled(value: Any, stage: str) -> str:
    """A value of the template for this stage."""
    return stage if value == {"Ref": "Stage"} else str(value["Fn::Sub"]).replace("${Stage}", stage)


def test_the_template_can_be_had_for_the_plain_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m infra.template` prints what `./baton deploy` sends, documents included."""
    template.main()
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads(template.body())
    assert "Filled in by" not in printed


def test_the_tables_can_be_recovered_and_forget() -> None:
    """TTL, point-in-time recovery and encryption on each table."""
    tables = [r["Properties"] for r in RESOURCES.values() if r["Type"] == "AWS::DynamoDB::Table"]
    assert len(tables) == 2
    for table in tables:
        assert table["TimeToLiveSpecification"]["Enabled"] is True
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert table["SSESpecification"]["SSEEnabled"] is True


SWEEPS = (3, 62, 121, 179, 239, 301, 360, 421, 479)
"""Seconds at which sweeps said something: EventBridge promises no more than about once a minute."""


@pytest.mark.parametrize("alarm", ["BlockedAlarm", "ContestedAlarm"])
def test_an_alarm_lasts_as_long_as_its_cause(alarm: str) -> None:
    """As CloudWatch evaluates it: raised within a minute, no OK in between, over some minutes later."""
    properties = RESOURCES[alarm]["Properties"]
    assert properties["TreatMissingData"] == "notBreaching"
    period, of = properties["Period"], properties["EvaluationPeriods"]

    def is_raised(now: int) -> bool:
        """M out of the last N whole periods."""
        ends = [now - now % period - period * n for n in range(of)]
        breaching = sum(any(end - period <= at < end for at in SWEEPS) for end in ends)
        return breaching >= int(properties.get("DatapointsToAlarm", of))

    states = {now: is_raised(now) for now in range(period, SWEEPS[-1] + 4 * period)}
    assert states[2 * period - 1]
    assert all(states[now] for now in range(period, SWEEPS[-1]))
    assert not states[SWEEPS[-1] + 4 * period - 1]
