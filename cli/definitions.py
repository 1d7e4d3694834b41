"""Cluster definitions as people keep them: YAML files, and what Parameter Store holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from chalicelib.clusters import BrokenDefinition, check
from infra.account import Account, Trouble
from infra.names import Names


def read(path: Path) -> dict[str, Any]:
    """The definition in a YAML file, validated; Trouble says what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Trouble(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise Trouble(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise Trouble(f"{path} holds no cluster definition: it must be a mapping.")
    name = str(document.get("name", path.stem))
    try:
        check(name, document)
    except BrokenDefinition as error:
        text = str(error).replace(", and it is left alone until that is mended", "")
        raise Trouble(f"{path}: {text}. Nothing was changed.") from error
    return document


def in_force(account: Account, names: Names) -> dict[str, dict[str, Any]]:
    """The stage's definitions by cluster; one that is no JSON object is left out."""
    pages = account.client("ssm").get_paginator("get_parameters_by_path")
    found: dict[str, dict[str, Any]] = {}
    for page in pages.paginate(Path=names.definitions):
        for parameter in page["Parameters"]:
            document = _decoded(parameter["Value"])
            if document is not None:
                found[parameter["Name"].rpartition("/")[2]] = document
    return found


def one_in_force(account: Account, names: Names, cluster: str) -> dict[str, Any]:
    """One cluster's definition."""
    found = in_force(account, names)
    if cluster not in found:
        known = ", ".join(sorted(found)) or "none"
        raise Trouble(f"Stage {names.stage} has no cluster {cluster} in {account.region} (it has: {known}).")
    return found[cluster]


def clashes(
    document: Mapping[str, Any],
    others: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, tuple[str, ...]],
) -> Iterator[str]:
    """What this definition names that another cluster has already. `members`: nodes by cluster."""
    name = str(document["name"])
    for other, definition in others.items():
        if other == name:
            continue
        for kind, key in (("volumes", "id"), ("addresses", "address")):
            ours = {entry[key] for entry in document.get(kind, [])}
            theirs = {entry[key] for entry in definition.get(kind, [])}
            for shared in sorted(ours & theirs):
                yield f"{shared} belongs to cluster {other} already"
        for shared in sorted({*members.get(name, ())} & {*members.get(other, ())}):
            yield f"{shared} is a node of cluster {other} already"


def as_parameter(document: Mapping[str, Any]) -> str:
    """The text that Parameter Store holds."""
    return json.dumps(document, separators=(",", ":"))


def as_yaml(document: Mapping[str, Any]) -> str:
    """The definition as people read it, the same for equal definitions."""
    return yaml.safe_dump(dict(document), sort_keys=True)


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
