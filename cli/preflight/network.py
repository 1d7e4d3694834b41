"""Whether the nodes can hear each other's VRRP adverts, IP protocol 112."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import permutations
from typing import Final

from cli.preflight.facts import Facts, Finding, Raw, interfaces_of

VRRP: Final = "112"
_ANY: Final = "-1"


def adverts_pass(facts: Facts) -> Iterator[Finding]:
    """Security groups let VRRP out of each node and into each other one."""
    if not facts.groups:
        return
    for sender, receiver in permutations(facts.present, 2):
        out = _groups(facts, sender)
        into = _groups(facts, receiver)
        if not _allows(out, "IpPermissionsEgress", facts, receiver):
            yield _finding(facts, sender, receiver, "egress")
        if not _allows(into, "IpPermissions", facts, sender):
            yield _finding(facts, sender, receiver, "ingress")


def _finding(facts: Facts, sender: str, receiver: str, kind: str) -> Finding:
    way, own, peer = ("into", receiver, sender) if kind == "ingress" else ("out of", sender, receiver)
    groups, peers = ([str(g["GroupId"]) for g in _groups(facts, node)] for node in (own, peer))
    ids = ", ".join(groups) or "no group"
    return Finding(
        "vrrp",
        own,
        f"no rule of {ids} lets IP protocol 112 (VRRP) {way} it, {sender} to {receiver}: both"
        " nodes would be master",
        f"aws ec2 authorize-security-group-{kind} --group-id {(groups or ['GROUP'])[0]} --ip-permissions"
        f" 'IpProtocol=112,UserIdGroupPairs=[{{GroupId={(peers or ['GROUP'])[0]}}}]'",
    )


def _groups(facts: Facts, node: str) -> list[Raw]:
    """The groups of the node's first interface, which VRRP uses."""
    interfaces = interfaces_of(facts.instances[node])
    names = [g["GroupId"] for g in interfaces[0].get("Groups", [])] if interfaces else []
    return [facts.groups[name] for name in names if name in facts.groups]


def _allows(groups: list[Raw], way: str, facts: Facts, peer: str) -> bool:
    address = str(facts.instances[peer].get("PrivateIpAddress", ""))
    peers = {str(g["GroupId"]) for g in _groups(facts, peer)}
    return any(
        _covers(rule, address, peers)
        for group in groups
        for rule in group.get(way, [])
        if str(rule.get("IpProtocol")) in (VRRP, _ANY, "vrrp")
    )


def _covers(rule: Raw, address: str, groups: set[str]) -> bool:
    if any(pair.get("GroupId") in groups for pair in rule.get("UserIdGroupPairs", [])):
        return True
    ranges = [ip_network(r["CidrIp"]) for r in rule.get("IpRanges", [])]
    return bool(address) and any(ip_address(address) in network for network in ranges)


CHECKS: Final = (adverts_pass,)
