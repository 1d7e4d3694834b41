"""An empty table for records, as the support stack makes it."""

from __future__ import annotations

from typing import Any

from infra import template

MADE_OF = ("KeySchema", "AttributeDefinitions", "BillingMode")


def make_table(client: Any, name: str) -> str:
    """Make it under this name; the name."""
    properties = template.load()["Resources"]["Table"]["Properties"]
    client.create_table(TableName=name, **{part: properties[part] for part in MADE_OF})
    return name
