"""What comes from outside is refused before a shell reads it and before a file changes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node_hook import arguments

HOOK = Path(__file__).resolve().parents[2] / "node_hook"
DOCUMENTS = {path.stem: json.loads(path.read_text()) for path in (HOOK / "documents").glob("*.json")}

HOSTILE = [
    "'; echo>pwned; '",
    '"$(echo>pwned)"',
    "$(echo>pwned)",
    "`echo>pwned`",
    "orders\necho>pwned",
    "orders\n",
    "../../etc/passwd",
    "x" * 100_000,
    "orders --anyway",
    "{{ssm:secret}}",
    "\x00",
    "é",
    "1" * 13,
    str(10**12),
    "-1",
    "1e9",
    "0x10",
]


@pytest.mark.parametrize("name", ["orchestrator", "people"])
def test_documents_are_strict(name: str) -> None:
    """Each parameter reaches the shell as an environment variable and has a pattern; nothing is pasted."""
    document = DOCUMENTS[name]
    assert document["schemaVersion"] == "2.2"
    for parameter in document["parameters"].values():
        assert parameter["type"] == "String"
        assert parameter["interpolationType"] == "ENV_VAR"
        assert parameter["allowedPattern"].startswith("^") and parameter["allowedPattern"].endswith("$")
        if "default" in parameter:
            assert re.fullmatch(parameter["allowedPattern"], parameter["default"])
    [step] = document["mainSteps"]
    assert step["action"] == "aws:runShellScript"
    script = "\n".join(step["inputs"]["runCommand"])
    assert "{{" not in script
    named = set(re.findall(r"\$(?:SSM_)(\w+)", script))
    assert named == set(document["parameters"])
    assert all(f'"$SSM_{parameter}"' in script for parameter in named)


def test_who_may_do_what() -> None:
    """IAM tells the documents apart, so their actions do not overlap but for status."""
    actions = {name: set(d["parameters"]["action"]["allowedValues"]) for name, d in DOCUMENTS.items()}
    orchestrator = {"release", "acquire", "status", "handover"}
    assert actions == {"orchestrator": orchestrator, "people": {"handover", "status"}}


@pytest.mark.parametrize("name", ["orchestrator", "people"])
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_patterns_refuse(name: str, value: str) -> None:
    """No parameter takes a hostile value. A boot id is an opaque word and may be digits."""
    for parameter, rules in DOCUMENTS[name]["parameters"].items():
        fits = re.fullmatch(rules["allowedPattern"], value) is not None
        assert not fits or (parameter == "boot" and re.fullmatch("[0-9a-zA-Z-]+", value) and len(value) < 65)


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("option", ["cluster", "epoch", "volumes", "deadline", "ready"])
def test_the_script_refuses_them_too(option: str, value: str) -> None:
    """Should an agent not check the patterns, the script does."""
    with pytest.raises(arguments.BadArguments):
        arguments.parse(["release", f"--{option}", value])
    with pytest.raises(arguments.BadArguments):
        arguments.parse([value])


GOOD = {
    "action": "status",
    "cluster": "orders",
    "epoch": "1",
    "deadline": "1",
    "boot": "",
    "volumes": "",
    "ready": "",
}
FITS_A_VARIABLE = [value for value in HOSTILE if "\x00" not in value and len(value) < 50_000]


def through_the_shell(name: str, values: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a document's own lines in a real shell, as an agent that checks no pattern would."""
    lines = "\n".join(DOCUMENTS[name]["mainSteps"][0]["inputs"]["runCommand"])
    lines = lines.replace("exec /opt/baton/node.py", f"exec {sys.executable} -IS {HOOK}/node.py")
    lines = lines.replace("[ -x /opt/baton/node.py ]", "true")
    env = {f"SSM_{parameter}": value for parameter, value in {**GOOD, **values}.items()}
    return subprocess.run(
        ["/bin/sh", "-c", lines],
        env={"PATH": "/nowhere", "BATON_CONFIG": str(folder / "none.json"), **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("value", FITS_A_VARIABLE)
def test_no_value_gets_past_the_documents_own_lines(tmp_path: Path, value: str) -> None:
    """Exit 2 with an answer, nothing executed, no file made."""
    done = through_the_shell("orchestrator", {"cluster": value}, tmp_path)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, answer["result"]) == (2, "failed")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["orchestrator", "people"])
def test_no_parameter_lets_a_value_past(tmp_path: Path, name: str) -> None:
    """The nastiest one, in each place; a flag is false unless it is the word true."""
    value = '"$(echo>pwned)"\'; echo>pwned;\n`echo>pwned`'
    for parameter in DOCUMENTS[name]["parameters"]:
        done = through_the_shell(name, {parameter: value}, tmp_path)
        flag = parameter in ("unlessMaster", "anyway")
        assert done.returncode == (5 if flag else 2), (parameter, done.stdout)
        assert os.listdir(tmp_path) == []


def test_options_are_taken_once_and_whole() -> None:
    """No abbreviations, no doubles, no value for a flag."""
    for words in (["--clu", "x"], ["--epoch", "1", "--epoch", "2"], ["--anyway=1"], ["--epoch"], ["stray"]):
        with pytest.raises(arguments.BadArguments):
            arguments.parse(["status", *words])
    given = arguments.parse(
        [
            "release",
            "--cluster",
            "orders",
            "--epoch=7",
            "--deadline",
            "17.5",
            "--unless-master",
            "--volumes",
            "vol-01234567,vol-89abcdef",
        ]
    )
    assert (given.epoch, given.deadline, given.unless_master) == (7, 17.5, True)
    assert given.volumes == ("vol-01234567", "vol-89abcdef")
