"""Checks of what the nodes themselves say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.preflight.facts import Facts, Finding, Raw, Severity

CLOCK_SECONDS: Final = 5.0
"""Words are ordered by each node's own clock, but their age is told by Baton's: beyond this, fresh
words look old."""


def answer(facts: Facts) -> Iterator[Finding]:
    """Each node answers the people's document."""
    for node, report in facts.reports.items():
        if report.answer is None:
            yield Finding(
                "answer",
                node,
                f"the node did not answer: {report.why}",
                "Install Baton's node software on it (docs/deploy.md), or look at the SSM agent.",
            )


def keep_time(facts: Facts) -> Iterator[Finding]:
    """Each node's clock agrees with this machine's."""
    for node, report in facts.reports.items():
        now = report.host.get("now")
        if now is None:
            continue
        off = max(report.sent - float(now), float(now) - report.heard, 0.0)
        if off > CLOCK_SECONDS:
            yield Finding(
                "clock",
                node,
                f"its clock differs from this machine's by {off:.0f} seconds",
                "Run chrony on it, with Amazon's time service 169.254.169.123.",
            )


def are_configured(facts: Facts) -> Iterator[Finding]:
    """Each node's configuration is the one that the definition gives."""
    for node, report in facts.reports.items():
        wanted, has = facts.wanted_config.get(node), report.status.get("config")
        if wanted and has and has != wanted:
            yield Finding(
                "configuration",
                node,
                "its /etc/baton/node.json is not what the definition gives",
                "Render and install it anew: ./baton node-user-data shows how.",
            )


def leave_mounting_to_baton(facts: Facts) -> Iterator[Finding]:
    """Nothing mounts a volume or starts a service before Baton says that this node may."""
    for node, report in facts.reports.items():
        for point in report.host.get("fstab", []):
            yield Finding(
                "fstab",
                node,
                f"{point} is in /etc/fstab: the host mounts it at boot, whoever owns it",
                f"Remove the line of {point} from /etc/fstab on {node}.",
            )
        for unit in report.host.get("enabled", []):
            yield Finding(
                "unit",
                node,
                f"{unit} is enabled: systemd starts it at boot, whoever owns the volume",
                f"systemctl disable {unit} on {node}",
            )


def hold_the_right_filesystem(facts: Facts) -> Iterator[Finding]:
    """A volume's filesystem has the UUID and the type that the definition names."""
    volumes = {str(v["id"]): v for v in facts.document.get("volumes", [])}
    for node, report in facts.reports.items():
        for volume, found in report.host.get("filesystems", {}).items():
            wanted = volumes.get(volume, {})
            if found:
                yield from _filesystem(node, volume, wanted, found)


def _filesystem(node: str, volume: str, wanted: Raw, found: Raw) -> Iterator[Finding]:
    if found.get("trouble"):
        text, remedy = str(found["trouble"]), f"Look at lsblk -o NAME,SERIAL on {node}."
        yield Finding("device", volume, text, remedy)
        return
    for field, key in (("uuid", "UUID"), ("filesystem", "TYPE")):
        has = str(found.get(key, ""))
        if wanted.get(field) and has.lower() != str(wanted[field]).lower():
            yield Finding(
                "filesystem",
                volume,
                f"its {field} is {has or 'missing'}, the definition says {wanted[field]}",
                "Mend the definition, or name the right volume. Baton does not mount this one.",
            )


def leave_the_address_to_keepalived(facts: Facts) -> Iterator[Finding]:
    """ec2-net-utils adds secondary addresses by itself and fights keepalived over them."""
    for node, report in facts.reports.items():
        files = report.host.get("net_utils", [])
        if files and facts.addresses:
            yield Finding(
                "net-utils",
                node,
                f"ec2-net-utils is installed ({files[0]}): it adds the service address within a"
                " minute on any node that EC2 gives it to",
                "Remove ec2-net-utils, or tell it to leave secondary addresses alone.",
                Severity.WARNING,
            )


def run_keepalived(facts: Facts) -> Iterator[Finding]:
    """keepalived is there, valid, running, and speaks to Baton."""
    for node, report in facts.reports.items():
        found = report.host.get("keepalived")
        if found is None:
            continue
        wrong = next((text for key, text in _KEEPALIVED.items() if not found.get(key)), None)
        if wrong:
            said = f" ({found['said']})" if found.get("said") and found.get("installed") else ""
            yield Finding("keepalived", node, f"{wrong}{said}", _KEEPALIVED_REMEDY)


_KEEPALIVED: Final = {
    "installed": "keepalived is not installed",
    "valid": "keepalived refuses its configuration",
    "instance": "keepalived's configuration has no VRRP instance of this cluster",
    "fifo": "keepalived's configuration does not write to Baton's FIFO",
    "running": "keepalived does not run",
}
_KEEPALIVED_REMEDY: Final = (
    "Install keepalived, render /etc/keepalived/keepalived.conf anew (docs/deploy.md), and"
    " systemctl restart keepalived."
)

CHECKS: Final = (
    answer,
    keep_time,
    are_configured,
    leave_mounting_to_baton,
    hold_the_right_filesystem,
    leave_the_address_to_keepalived,
    run_keepalived,
)
