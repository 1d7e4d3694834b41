"""SSM documents: their content, and parameters checked against them as SSM checks them.

moto takes any document name and any parameters. SSM refuses parameters that the document does
not declare, lacks, or whose values break allowedPattern or allowedValues (Systems Manager user
guide, "Data elements and parameters").
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from moto.ssm.models import ssm_backends

from lab.cloud.errors import Refused
from lab.cloud.world import World

_EXECUTION_SECONDS = 3600.0
"""A step without timeoutSeconds."""

_SHELL_SCRIPT: dict[str, Any] = {
    "schemaVersion": "1.2",
    "parameters": {
        "commands": {"type": "StringList"},
        "workingDirectory": {"type": "String", "default": ""},
        "executionTimeout": {"type": "String", "default": "3600"},
    },
    "runtimeConfig": {
        "aws:runShellScript": {"properties": [{"id": "0.aws:runShellScript", "runCommand": "{{ commands }}"}]}
    },
}


def content(world: World, name: str) -> dict[str, Any]:
    """The default version of a document, by its name or ARN."""
    short = name.split("document/")[-1]
    if short == "AWS-RunShellScript":
        return _SHELL_SCRIPT
    settings = world.settings
    documents = ssm_backends[settings.account][settings.region]._documents
    if short not in documents:
        raise Refused("InvalidDocument", f"Document with name {name} does not exist.")
    text = documents[short].get_default_version().content
    return parsed(text)


def parsed(text: Any) -> dict[str, Any]:
    """A document as a dictionary, whether it was given as JSON, YAML, or an object."""
    if isinstance(text, dict):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        found = yaml.safe_load(text)
    if not isinstance(found, dict):
        raise Refused("InvalidDocumentContent", "The document is no object.")
    return found


def parameters(document: dict[str, Any], given: dict[str, list[str]]) -> dict[str, list[str]]:
    """Every parameter of the document with its values, or InvalidParameters."""
    declared = document.get("parameters") or {}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise _invalid(f"Parameter(s) {unknown} are not defined in the document.")
    return {name: _values(name, spec, given.get(name)) for name, spec in declared.items()}


def execution_seconds(document: dict[str, Any]) -> float:
    """How long the document may run."""
    steps = document.get("mainSteps") or []
    limits = [(step.get("inputs") or {}).get("timeoutSeconds") for step in steps]
    numbers = [float(str(limit)) for limit in limits if str(limit).replace(".", "").isdigit()]
    return sum(numbers) if steps and len(numbers) == len(steps) else _EXECUTION_SECONDS


def _values(name: str, spec: dict[str, Any], given: list[str] | None) -> list[str]:
    if given is None:
        if "default" not in spec:
            raise _invalid(f"Parameter {name} is missing.")
        default = spec["default"]
        return [str(v) for v in default] if isinstance(default, list) else [_text(default)]
    if spec.get("type", "String") != "StringList" and len(given) != 1:
        raise _invalid(f"Parameter {name} takes one value, not {len(given)}.")
    for value in given:
        _check(name, spec, value)
    return list(given)


def _check(name: str, spec: dict[str, Any], value: str) -> None:
    allowed = [_text(v) for v in spec.get("allowedValues") or []]
    if allowed and value not in allowed:
        raise _invalid(f"Parameter {name} has value {value!r}, which is not one of {allowed}.")
    pattern = spec.get("allowedPattern")
    # `search`, so that a pattern without anchors is seen to let everything through.
    if pattern and not re.search(pattern, value):
        raise _invalid(f"Parameter {name} has value {value!r}, which does not match {pattern!r}.")
    if "maxChars" in spec and len(value) > int(spec["maxChars"]):
        raise _invalid(f"Parameter {name} is longer than {spec['maxChars']} characters.")
    if "minChars" in spec and len(value) < int(spec["minChars"]):
        raise _invalid(f"Parameter {name} is shorter than {spec['minChars']} characters.")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _invalid(message: str) -> Refused:
    return Refused("InvalidParameters", message)
