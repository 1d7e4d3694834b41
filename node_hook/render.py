#!/usr/bin/env python3
"""A node's files, rendered from the cluster's definition: keepalived.conf and node.json.

Pure functions from values to text. What people get wrong by hand is computed here: each node's peers
are the others, its source is its own address, priorities differ, and the interval of adverts is one
that the protocol version can express. Raises CannotRender with a sentence.
"""

from __future__ import annotations

import json
import os
import zlib
from string import Template
from typing import Any, Dict, List, Mapping, Optional, Sequence

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keepalived.conf")

HIGHEST_PRIORITY = 254
"""255 is the address owner's, who never backs off. Each further node has one less."""

ADVERT_SECONDS = 1.0
"""EC2 hosts have been seen to pause for 2.8 s: below a second that is a false failover."""

VRRP_VERSION = 3
"""Version 2 knows whole seconds only."""


class CannotRender(ValueError):
    """The definition and the nodes' addresses do not make a configuration; the text says why."""


def members(definition: Mapping[str, Any], nodes: "Optional[Sequence[str]]" = None) -> "Dict[str, int]":
    """Each node's priority. `nodes` are the instances if the definition names them by a tag."""
    listed = definition["nodes"]
    if isinstance(listed, Mapping):
        if not nodes:
            raise CannotRender("the definition names its nodes by a tag: say which instances carry it")
        listed = [{"id": node} for node in sorted(nodes)]
    found: "Dict[str, int]" = {}
    for place, entry in enumerate(listed):
        found[entry["id"]] = int(entry.get("priority", HIGHEST_PRIORITY - place))
    if len(set(found.values())) != len(found):
        raise CannotRender("two nodes have the same priority: after a partition the address would decide")
    return found


def keepalived_conf(
    definition: Mapping[str, Any],
    node: str,
    hosts: Mapping[str, str],
    *,
    stage: str,
    run: str = "/run/baton",
) -> str:
    """keepalived.conf of one node. `hosts` gives each node's primary private address."""
    priorities = members(definition, list(hosts))
    missing = sorted(set(priorities) - set(hosts)) or sorted({node} - set(priorities))
    if missing:
        raise CannotRender(f"{', '.join(missing)}: no such node in the cluster, or its address is not known")
    if len(priorities) < 2:
        raise CannotRender("a cluster of one node has no peer to elect with")
    wanted = definition.get("keepalived", {})
    addresses = definition.get("addresses", [])
    if not addresses:
        raise CannotRender("the cluster has no service address: keepalived elects for one")
    name = definition["name"]
    version = int(wanted.get("vrrp_version", VRRP_VERSION))
    return Template(_template()).substitute(
        node=node,
        cluster=name,
        stage=stage,
        version=version,
        fifo=f"{run}/vrrp.fifo",
        hold=f"{run}/hold",
        instance=instance(name),
        preempt="preempt_delay 5" if wanted.get("preempt") else "nopreempt",
        interface=wanted.get("interface", addresses[0]["interface"]),
        router_id=wanted.get("router_id", router_id(name)),
        priority=priorities[node],
        advert_seconds=_advert(float(wanted.get("advert_seconds", ADVERT_SECONDS)), version),
        source=hosts[node],
        peers=_lines(hosts[peer] for peer in priorities if peer != node),
        addresses=_lines(f"{a['address']}/{a['prefix']} dev {a['interface']}" for a in addresses),
    )


def node_json(
    definition: Mapping[str, Any],
    node: str,
    *,
    stage: str,
    region: str,
    nodes: "Optional[Sequence[str]]" = None,
    paths: "Optional[Mapping[str, str]]" = None,
) -> "Dict[str, Any]":
    """/etc/baton/node.json of one node, as an object."""
    priorities = members(definition, nodes)
    if node not in priorities:
        raise CannotRender(f"{node} is not a node of {definition['name']}")
    found: "Dict[str, Any]" = {
        "version": 1,
        "stage": stage,
        "cluster": definition["name"],
        "node": node,
        "vrrp_instance": instance(definition["name"]),
        "priority": priorities[node],
        "heartbeat_seconds": definition.get("heartbeat_seconds", 15),
        "region": region,
        "volumes": list(definition.get("volumes", [])),
        "units": list(definition.get("units", [])),
        "unit_seconds": definition.get("unit_seconds", 10),
        "health": definition.get("health"),
        "addresses": list(definition.get("addresses", [])),
    }
    if paths:
        found["paths"] = dict(paths)
    return found


def text_of(config: "Mapping[str, Any]") -> str:
    """node.json as it is written: the preflight compares a hash of it."""
    return json.dumps(config, indent=1) + "\n"


def instance(cluster: str) -> str:
    """Name of the VRRP instance."""
    return f"baton-{cluster}"


def router_id(cluster: str) -> int:
    """A VRRP router id that follows from the cluster's name: clusters in one subnet rarely share it,
    and with unicast peers it does not matter if they do."""
    return 1 + zlib.crc32(cluster.encode()) % 255


def _advert(seconds: float, version: int) -> str:
    """The interval, if the protocol can express it."""
    if version == 2 and seconds != int(seconds):
        raise CannotRender(f"VRRP version 2 knows whole seconds only, not an advert every {seconds} s")
    hundredths = round(seconds * 100)
    if abs(hundredths - seconds * 100) > 1e-6:
        raise CannotRender(f"VRRP version 3 knows steps of 0.01 s, not an advert every {seconds} s")
    return f"{hundredths / 100:g}"


def _lines(values: "Any") -> str:
    return "\n        ".join(values)


def _template() -> str:
    with open(TEMPLATE, encoding="utf-8") as file:
        return file.read()


def main(argv: "List[str]") -> int:
    """render.py DEFINITION NODE STAGE REGION DIRECTORY NODE=ADDRESS...: write both files there."""
    definition_file, node, stage, region, directory, *pairs = argv
    with open(definition_file, encoding="utf-8") as file:
        definition = json.load(file)
    hosts = dict(pair.split("=", 1) for pair in pairs)
    config = node_json(definition, node, stage=stage, region=region, nodes=list(hosts))
    _put(directory, "etc/baton/node.json", text_of(config))
    if definition.get("addresses"):
        text = keepalived_conf(definition, node, hosts, stage=stage)
        _put(directory, "etc/keepalived/keepalived.conf", text)
    return 0


def _put(directory: str, name: str, text: str) -> None:
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    fresh = f"{path}.new"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(fresh, 0o644)
    os.replace(fresh, path)


if __name__ == "__main__":
    import sys

    if len(sys.argv) < 7:
        sys.exit(main.__doc__)
    sys.exit(main(sys.argv[1:]))
