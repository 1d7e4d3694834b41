"""Checks of the instances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.preflight.facts import Facts, Finding, Severity, interfaces_of, zone_of

AGENT: Final = (3, 3, 2746, 0)
"""SSM agents from this version on hand parameters over as environment variables. An older one
pastes them into the script as text."""


def exist(facts: Facts) -> Iterator[Finding]:
    """Each node is an instance of this account and region."""
    if not facts.nodes:
        yield Finding(
            "nodes",
            facts.cluster,
            "no instance carries the tag that names the nodes",
            "Tag the nodes, or name them by id in the definition.",
        )
    for node in facts.nodes:
        if node not in facts.instances:
            yield Finding(
                "nodes",
                node,
                "EC2 knows no such instance in this account and region",
                "Mend the id in the definition, or the region and account of the command.",
            )


def run(facts: Facts) -> Iterator[Finding]:
    """Each node runs."""
    for node, instance in facts.present.items():
        state = instance["State"]["Name"]
        if state != "running":
            yield Finding(
                "running",
                node,
                f"the instance is {state}",
                f"aws ec2 start-instances --instance-ids {node}",
            )


def share_a_zone(facts: Facts) -> Iterator[Finding]:
    """Volumes and addresses cannot leave a zone, so nodes in another one cannot take over."""
    zones = {node: zone_of(instance) for node, instance in facts.present.items()}
    if len(set(zones.values())) > 1:
        listed = ", ".join(f"{node} in {zone}" for node, zone in zones.items())
        yield Finding(
            "zones",
            facts.cluster,
            f"the nodes are in different availability zones: {listed}",
            "Launch the nodes in the zone of the volumes.",
        )


def share_a_subnet(facts: Facts) -> Iterator[Finding]:
    """VRRP and a service address need the nodes in one subnet."""
    subnets = {
        node: {str(i.get("SubnetId")) for i in interfaces_of(instance)}
        for node, instance in facts.present.items()
    }
    if len(subnets) > 1 and not set.intersection(*subnets.values()):
        listed = ", ".join(f"{n} in {'/'.join(sorted(s))}" for n, s in subnets.items())
        yield Finding(
            "subnets",
            facts.cluster,
            f"the nodes share no subnet: {listed}",
            "Launch the nodes in one subnet, or give them an interface in a common one.",
        )


def have_the_profile(facts: Facts) -> Iterator[Finding]:
    """Without the profile a node can neither speak nor be spoken to."""
    wanted = f":instance-profile/{facts.names.node_role}"
    for node, instance in facts.present.items():
        arn = instance.get("IamInstanceProfile", {}).get("Arn", "")
        if not arn.endswith(wanted):
            yield Finding(
                "profile",
                node,
                f"its instance profile is {arn or 'missing'}, not {facts.names.node_role}",
                f"aws ec2 associate-iam-instance-profile --instance-id {node}"
                f" --iam-instance-profile Name={facts.names.node_role}",
            )


def are_tagged(facts: Facts) -> Iterator[Finding]:
    """IAM lets Baton touch tagged instances and interfaces only."""
    for node, instance in facts.present.items():
        if not facts.is_tagged(instance):
            yield Finding(
                "tags",
                node,
                "the instance lacks Baton's tags, so IAM refuses commands to it",
                facts.tag_command.replace("IDS", node),
            )


def answer_to_ssm(facts: Facts) -> Iterator[Finding]:
    """Each node is managed by SSM, by an agent that is new enough."""
    for node in facts.present if "SSM's nodes" not in facts.unanswered else ():
        info = facts.managed.get(node)
        if info is None:
            yield Finding(
                "ssm",
                node,
                "SSM does not know the instance: it cannot be told to release or to acquire",
                "Install and start amazon-ssm-agent, attach the profile, and let the subnet reach"
                " the SSM endpoints.",
            )
        elif info.get("PingStatus") != "Online":
            yield Finding(
                "ssm",
                node,
                f"its SSM agent is {info.get('PingStatus')}",
                "systemctl restart amazon-ssm-agent on the node; read its log.",
            )
        elif _version(str(info.get("AgentVersion", ""))) < AGENT:
            yield Finding(
                "agent",
                node,
                f"its SSM agent {info.get('AgentVersion')} is older than"
                f" {'.'.join(map(str, AGENT))} and cannot hand parameters over safely",
                f"Update it: aws ssm send-command --document-name AWS-UpdateSSMAgent --instance-ids {node}",
            )


def require_tokens(facts: Facts) -> Iterator[Finding]:
    """A node reads its identity from the metadata service, version 2."""
    for node, instance in facts.present.items():
        options = instance.get("MetadataOptions", {})
        command = f"aws ec2 modify-instance-metadata-options --instance-id {node}"
        if options.get("HttpEndpoint") == "disabled":
            yield Finding(
                "metadata",
                node,
                "its metadata service is off: the node has neither name nor credentials",
                f"{command} --http-endpoint enabled --http-tokens required",
            )
        elif options.get("HttpTokens") != "required":
            yield Finding(
                "metadata",
                node,
                "its metadata service still answers version 1, which a web server on the node can"
                " be tricked into reading",
                f"{command} --http-tokens required",
                Severity.WARNING,
            )


def _version(text: str) -> tuple[int, ...]:
    """A version as numbers; an odd one counts as old."""
    parts = text.split(".")
    return tuple(int(p) for p in parts) if all(p.isdigit() for p in parts) else ()


CHECKS: Final = (
    exist,
    run,
    share_a_zone,
    share_a_subnet,
    have_the_profile,
    are_tagged,
    answer_to_ssm,
    require_tokens,
)
