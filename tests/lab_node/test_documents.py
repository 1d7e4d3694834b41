"""The real SSM documents: hostile parameters are refused by SSM, and by the node if SSM were not to."""

from __future__ import annotations

import json
import queue
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.cloud import Cloud, Delivery, Latencies
from lab.hosts.hosts import Host, Hosts, Spec
from tests.lab_cloud.machines import Machines
from tests.lab_node.rig import wait_for
from tests.node_script.test_hostile import DOCUMENTS, FITS_A_VARIABLE, HOSTILE

NODE = "i-0aaaaaaaaaaaaaaaa"
NASTY = '"$(touch /pwned)"\'; touch /pwned;\n`touch /pwned`'
GOOD = {
    "orchestrator": {"action": "status", "cluster": "orders", "epoch": "1", "deadline": "1"},
    "people": {"action": "status", "cluster": "orders"},
}
PARAMETERS = [(name, each) for name, document in DOCUMENTS.items() for each in document["parameters"]]
FLAGS = ("unlessMaster", "anyway")
WHERE = "/etc/baton /opt/baton /var/lib/baton /run/baton"


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    """SSM with the real documents and an instance that notes what reaches it."""
    with Cloud.start(latencies=Latencies.fast()) as cloud:
        machines = Machines()
        cloud.use(machines)
        ssm = cloud.client("ssm")
        for name, document in DOCUMENTS.items():
            ssm.create_document(
                Name=name, Content=json.dumps(document), DocumentType="Command", DocumentFormat="JSON"
            )
        node = cloud.launch(cloud.network("10.9.0.0/16", "10.9.0.0/24"), "a")
        yield ssm, node.id, machines


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host on which Baton is installed, with an agent that checks no pattern."""
    node = {"version": 1, "stage": "test", "cluster": "orders", "node": NODE}
    with Hosts.open(Path(tempfile.gettempdir()) / "lab") as hosts:
        units = ("amazon-ssm-agent.service", "baton-publish.service")
        made = hosts.add(Spec(NODE, "a", "10.9.0.11", node=node, units=units))
        hosts.boot()
        yield made


def is_left_to_the_node(parameter: str, value: str) -> bool:
    """A boot id is an opaque word; and `$` lets a last line end pass, in many a regular expression."""
    word = re.fullmatch("[0-9a-zA-Z-]{0,64}", value) is not None
    return (parameter == "boot" and word) or (parameter in ("boot", "cluster") and value == "orders\n")


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_ssm_sends_none_of_them(account: Any, name: str, parameter: str) -> None:
    """No parameter of either document takes a hostile value: nothing reaches the instance."""
    ssm, node, machines = account
    machines.deliveries.clear()
    for value in HOSTILE:
        if is_left_to_the_node(parameter, value):
            continue
        given = {key: [text] for key, text in {**GOOD[name], parameter: value}.items()}
        with pytest.raises(ClientError, match="InvalidParameters"):
            ssm.send_command(InstanceIds=[node], DocumentName=name, Parameters=given)
    assert machines.deliveries == []


def test_what_is_allowed_gets_through(account: Any) -> None:
    """Else the test above would pass for any document."""
    ssm, node, machines = account
    machines.deliveries.clear()
    for name, good in GOOD.items():
        given = {key: [text] for key, text in good.items()}
        ssm.send_command(InstanceIds=[node], DocumentName=name, Parameters=given)
    wait_for(lambda: len(machines.deliveries) == len(GOOD), 20)


def run(host: Host, name: str, change: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Let the host's agent run the document with these parameters: exit code and answer."""
    ended: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def report(status: str, code: int, out: str, err: str) -> None:
        if status != "InProgress":
            ended.put((code, out))

    declared = DOCUMENTS[name]["parameters"]
    values = {key: str(each.get("default", "")) for key, each in declared.items()} | GOOD[name] | change
    host.mailbox.put(
        Delivery("c-1", name, DOCUMENTS[name], {key: [value] for key, value in values.items()}, report)
    )
    code, out = ended.get(timeout=30)
    return code, json.loads(out.splitlines()[-1])


def files(host: Host) -> str:
    """Every file of Baton's with its size; but not words, which each answer adds, locks, and *.pyc."""
    look = f"find {WHERE} -type f ! -path '*/spool/*' ! -name '*.lock' ! -name '*.pyc' ! -name state.json"
    return host.run(["sh", "-c", f"{look} -printf '%p %s\\n' | sort; ls -d /pwned* 2>&1"], check=False).out


def test_the_agent_runs_the_real_documents(host: Host) -> None:
    """Both answer, in one JSON line, with a word."""
    for name in DOCUMENTS:
        code, answer = run(host, name, {})
        assert (code, answer["result"]) == (0, "status") and answer["word"]["cluster"] == "orders"
    assert run(host, "orchestrator", {"cluster": "others"})[1]["code"] == "unknown-cluster"


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_the_node_refuses_what_ssm_let_through(host: Host, name: str) -> None:
    """Each parameter, and each value: exit 2, no shell has run it, no file has changed."""
    run(host, name, {})
    before = files(host)
    for parameter in sorted(set(DOCUMENTS[name]["parameters"]) - set(FLAGS)):
        code, answer = run(host, name, {parameter: NASTY})
        assert (code, answer["result"]) == (2, "failed"), parameter
    for value in FITS_A_VARIABLE:
        code, answer = run(host, name, {"cluster": value})
        assert (code, answer["result"]) == (2, "failed"), value
    for flag in set(FLAGS) & set(DOCUMENTS[name]["parameters"]):
        assert run(host, name, {flag: NASTY})[0] == 0, "not the word true: a flag that is not set"
    assert files(host) == before


def test_an_absurd_epoch_changes_nothing(host: Host) -> None:
    """As large as the pattern allows."""
    before = files(host)
    code, answer = run(host, "orchestrator", {"action": "release", "epoch": "99999999999"})
    assert (code, answer["result"], answer["code"]) == (6, "refused", "absurd-epoch")
    assert files(host) == before
