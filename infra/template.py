"""The support stack's template with the SSM documents filled in, as CloudFormation takes it.

python -m infra.template      prints it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).parent
TEMPLATE: Final = HERE / "support.yaml"
DOCUMENTS: Final = HERE.parent / "node_hook" / "documents"
BODY_BYTES_MOST: Final = 51_200
"""CloudFormation takes no larger template without a bucket."""

_DOCUMENT_OF: Final = {
    "OrchestratorDocument": "orchestrator.json",
    "PeopleDocument": "people.json",
}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (`!Ref`, `!Sub`, …) turned into their long ones."""


def _intrinsic(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if tag == "GetAtt":
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def load() -> dict[str, Any]:
    """The template as it stands in the repository."""
    template = yaml.load(TEMPLATE.read_text(encoding="utf-8"), _Loader)
    if not isinstance(template, dict):
        raise TypeError(f"{TEMPLATE} is not a mapping")
    return template


def rendered(documents: Path = DOCUMENTS) -> dict[str, Any]:
    """The template with the SSM documents in it."""
    template = load()
    for resource, file in _DOCUMENT_OF.items():
        content = json.loads((documents / file).read_text(encoding="utf-8"))
        # A string, so that CloudFormation keeps numbers and booleans as they are written.
        template["Resources"][resource]["Properties"]["Content"] = json.dumps(content)
    return template


def body(documents: Path = DOCUMENTS) -> str:
    """The rendered template as JSON, small enough for one call."""
    text = json.dumps(rendered(documents), separators=(",", ":"))
    if len(text.encode()) > BODY_BYTES_MOST:
        raise ValueError(
            f"The support template has {len(text.encode())} bytes; CloudFormation takes"
            f" {BODY_BYTES_MOST}. Shorten the SSM documents in {documents}."
        )
    return text


def main() -> None:
    """Print what CloudFormation takes, for those who deploy the stack by themselves."""
    print(body())


if __name__ == "__main__":
    main()
