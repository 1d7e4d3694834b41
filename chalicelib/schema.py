"""The part of JSON Schema that cluster definitions are described in, checked field by field.

Written here because a validator from the registry costs the Lambda 50 ms at each cold start, and
its messages name a rule where a person needs the field. The tests hold it against `jsonschema`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}

_NAMES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


def defects(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> Iterator[str]:
    """Each defect of the value in a sentence that begins with the field's name."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "oneOf" in schema:
        yield from _best_choice(value, schema["oneOf"], root, where)
        return
    kind = schema.get("type")
    if kind and not _is_of_type(value, kind):
        yield f"{where} must be {_NAMES[kind]}, not {_shown(value)}"
        return
    yield from _scalar_defects(value, schema, where)
    if isinstance(value, dict):
        yield from _object_defects(value, schema, root, where)
    if isinstance(value, list):
        yield from _list_defects(value, schema, root, where)


def _is_of_type(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _best_choice(
    value: Any, choices: list[dict[str, Any]], root: dict[str, Any], where: str
) -> Iterator[str]:
    """The defects under the choice whose type fits, for a person meant that one."""
    found = [list(defects(value, choice, root, where)) for choice in choices]
    if not any(not one for one in found):
        of_type = [one for one in found if not one[0].startswith(f"{where} must be")]
        yield from (of_type or [[" or ".join(one[0] for one in found)]])[0]


def _scalar_defects(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        yield f"{where} must be {schema['const']}, not {_shown(value)}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} must be one of {', '.join(schema['enum'])}, not {_shown(value)}"
    if isinstance(value, str) and not _matches(value, schema):
        yield f"{where} cannot be {_shown(value)}: it must match {schema['pattern']}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{where} must be at least {schema['minimum']}, not {value}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{where} must be at most {schema['maximum']}, not {value}"


def _matches(value: str, schema: dict[str, Any]) -> bool:
    # All patterns are anchored, and `$` alone would let a trailing newline pass.
    return "pattern" not in schema or bool(re.fullmatch(schema["pattern"], value))


def _object_defects(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], where: str
) -> Iterator[str]:
    known = schema.get("properties", {})
    inside = "" if where == "the definition" else f"{where}."
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{inside}{name} is missing"
    for name, content in value.items():
        if name in known:
            yield from defects(content, known[name], root, f"{inside}{name}")
        else:
            yield f"{inside}{str(name)[:40]} is not a field; known here: {', '.join(known)}"


def _list_defects(
    value: list[Any], schema: dict[str, Any], root: dict[str, Any], where: str
) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{where} needs at least {schema['minItems']} of them"
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{where} may hold at most {schema['maxItems']}, not {len(value)}"
    for index, item in enumerate(value):
        yield from defects(item, schema.get("items", {}), root, f"{where}[{index}]")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
