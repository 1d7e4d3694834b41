"""Definitions: what is accepted, and which field is named when it is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.clusters import BrokenDefinition, Clusters, UnknownCluster, check, parse, schema
from chalicelib.model import Cluster, FencePolicy
from chalicelib.schema import defects
from lab.cloud import Cloud

EXAMPLE = Path(__file__).parents[2] / "clusters" / "example.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(schema())

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_characters="\n"), max_size=6),
    st.sampled_from(["i-0123456789abcdef0", "10.0.0.1", "none", "/srv/x", [], {}, [{}], ["a"]]),
)


def paths(value: Any) -> list[tuple[Any, ...]]:
    """Where the parts of a document are."""
    here: list[tuple[Any, ...]] = [()]
    parts = value if isinstance(value, (dict, list)) else []
    for name, content in parts.items() if isinstance(parts, dict) else enumerate(parts):
        here += [(name, *path) for path in paths(content)]
    return here


def changed(path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> dict[str, Any]:
    """The example with something done to one part."""
    document = copy.deepcopy(DOCUMENT)
    part: Any = document
    for name in path[:-1]:
        part = part[name]
    change(part, path[-1])
    return document


def test_the_example_is_sound_and_says_what_the_core_needs() -> None:
    """The file that explains every field is itself accepted."""
    VALIDATOR.validate(DOCUMENT)
    definition = check("orders", DOCUMENT)
    assert definition.cluster == Cluster(
        name="orders",
        nodes=("i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"),
        volumes=("vol-0cccccccccccccccc",),
        addresses=("10.0.1.100",),
        fence=FencePolicy.STOP,
    )


def test_the_example_shows_every_field() -> None:
    """A field that the schema gains has to be explained."""
    text = EXAMPLE.read_text(encoding="utf-8")
    fields = set(schema()["properties"])
    for part in schema()["$defs"].values():
        fields |= set(part["properties"])
    assert [name for name in sorted(fields) if f"{name}:" not in text] == []


def test_the_published_schema_is_one() -> None:
    """Editors can use it."""
    jsonschema.Draft202012Validator.check_schema(schema())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([path for path in paths(DOCUMENT) if path]), values)
def test_our_checker_agrees_with_a_validator_of_json_schema(path: Any, value: Any) -> None:
    """On every part of the example replaced by anything."""
    document = changed(path, lambda part, name: part.__setitem__(name, value))
    ours = list(defects(document, schema(), schema(), "the definition"))
    assert bool(ours) != VALIDATOR.is_valid(document), ours


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([path for path in paths(DOCUMENT) if path]))
def test_our_checker_agrees_on_what_is_missing(path: Any) -> None:
    """On every part of the example left out."""
    document = changed(path, lambda part, name: part.pop(name))
    ours = list(defects(document, schema(), schema(), "the definition"))
    assert bool(ours) != VALIDATOR.is_valid(document), ours


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("name",), 7, "name must be text, not 7"),
        (("name",), "other", "name is 'other', but it is stored as 'orders'"),
        (("nodes", 1, "id"), "i-X", "nodes[1].id cannot be 'i-X'"),
        (("nodes", 1, "id"), "i-0aaaaaaaaaaaaaaaa", "nodes names i-0aaaaaaaaaaaaaaaa twice"),
        (("nodes",), [], "nodes needs at least 1"),
        (("nodes",), {"tag": "x"}, "nodes.value is missing"),
        (("nodes",), "i-1", "nodes must be"),
        (("volumes", 0, "filesystem"), "ntfs", "volumes[0].filesystem must be one of ext4, xfs"),
        (("volumes", 0, "colour"), 1, "volumes[0].colour is not a field"),
        (("addresses", 0, "address"), "10.0.0.256", "addresses[0].address cannot be"),
        (("addresses", 0, "address"), "fd00::1", "addresses[0].address cannot be"),
        (("addresses", 0, "address"), "10.0.1.100\n", "addresses[0].address cannot be"),
        (("challenge_seconds",), 20, "challenge_seconds must be less than heartbeat_seconds"),
        (("fence",), "shoot", "fence must be one of stop, force-detach, none, not 'shoot'"),
        (("paused",), "yes", "paused must be true or false, not 'yes'"),
        (("version",), 2, "version must be 1, not 2"),
    ],
)
def test_a_broken_definition_names_its_field(path: Any, value: Any, says: str) -> None:
    """The error is for the person who has to mend it."""
    with pytest.raises(BrokenDefinition) as caught:
        check("orders", changed(path, lambda part, name: part.__setitem__(name, value)))
    assert says in str(caught.value)
    assert str(caught.value).startswith("cluster orders: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"version": NaN}', "[" * 100_000])
def test_text_that_is_no_definition_is_a_broken_one(text: str) -> None:
    """Whatever stands in the parameter."""
    with pytest.raises(BrokenDefinition):
        parse("orders", text)


class TestInParameterStore:
    """Reading definitions from AWS."""

    def put(self, cloud: Cloud, name: str, **changes: Any) -> None:
        """Write a definition under a name."""
        text = json.dumps({**DOCUMENT, "name": name, **changes})
        cloud.client("ssm").put_parameter(
            Name=f"/baton/def/clusters/{name}", Value=text, Type="String", Overwrite=True
        )

    def clusters(self, cloud: Cloud) -> Clusters:
        """A reader with an empty cache."""
        nodes = {"one": ("i-0dddddddddddddddd",)}
        return Clusters(cloud.client("ssm"), "def", lambda key, value: nodes.get(value, ()))

    def test_each_is_found_by_name_or_tag_and_a_broken_one_is_alone(self, cloud: Cloud) -> None:
        """Sound ones are clusters, the broken one an error, and an unknown one is said to be."""
        for number in range(12):
            nodes = [{"id": f"i-{number:08x}"}]
            volumes = [{"id": f"vol-{number:08x}", "mount": "/srv/x", "filesystem": "xfs"}]
            self.put(cloud, f"many-{number}", nodes=nodes, volumes=volumes)
        tagged: dict[str, Any] = {"volumes": []}
        self.put(cloud, "tagged", nodes={"tag": "cluster", "value": "one"}, **tagged)
        self.put(cloud, "nobody", nodes={"tag": "cluster", "value": "none"}, **tagged)
        self.put(cloud, "broken", nodes=7)
        found = self.clusters(cloud).all()
        assert len(found) >= 15
        broken = {name for name, one in found.items() if isinstance(one, BrokenDefinition)}
        assert broken - {"by-tag"} == {"nobody", "broken"}
        assert self.clusters(cloud).get("tagged").nodes == ("i-0dddddddddddddddd",)
        with pytest.raises(BrokenDefinition, match="nodes"):
            self.clusters(cloud).get("broken")
        with pytest.raises(UnknownCluster, match="/baton/def/clusters/nowhere"):
            self.clusters(cloud).get("nowhere")
        self.put(cloud, "thief", nodes=[{"id": "i-0eeeeeeeeeeeeeeee"}], volumes=volumes)
        found = self.clusters(cloud).all()
        clash = found["thief"]
        assert isinstance(clash, BrokenDefinition)
        assert "vol-0000000b is named by many-11" in str(clash)
        assert isinstance(found["many-11"], BrokenDefinition)

    def test_tagged_nodes_are_known_while_ec2_does_not_answer(self, cloud: Cloud) -> None:
        """Without an answer ever, the cluster is left alone; the others are found all the same."""
        self.put(cloud, "by-tag", nodes={"tag": "cluster", "value": "one"}, volumes=[])
        self.put(cloud, "by-id", nodes=[{"id": "i-0fffffffffffffff0"}], volumes=[])

        def silent(key: str, value: str) -> tuple[str, ...]:
            raise EndpointConnectionError(endpoint_url="https://ec2")

        found = Clusters(cloud.client("ssm"), "def", silent).all()
        assert isinstance(found["by-tag"], BrokenDefinition)
        assert isinstance(found["by-id"], Cluster)
