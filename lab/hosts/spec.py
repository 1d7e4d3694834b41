"""What a host is made of, given as data, and the tree of files it is installed with."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.hosts.network import PREFIX, hardware
from node_hook.render import text_of

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.executable)
AGENT_UNIT = "amazon-ssm-agent.service"
PERSISTENT = ("/var/lib/baton", "/var/lib/amazon")
"""Directories on the host's disk: they outlive a reboot. All else is made anew at each boot."""

AGENT = """[Unit]
Description=amazon-ssm-agent
[Service]
Type=simple
ExecStart=/usr/bin/amazon-ssm-agent
KillMode=process
Restart=always
RestartSec=15min
[Install]
WantedBy=multi-user.target
"""

KEEPALIVED = "[Service]\nType=simple\n"
"""keepalived tells systemd that it is up only if its parent is named `systemd`."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key that the metadata service gives to the host."""

    access_key: str
    secret_key: str
    token: str = "token"


@dataclass(frozen=True, slots=True)
class Spec:
    """A host. `files` and `units` say what it is for; the hook is installed if `node` is given."""

    instance: str
    name: str
    address: str
    """Primary address, in 10.9.0.0/24 and not .1."""
    interface: str = ""
    region: str = "eu-central-1"
    zone: str = "eu-central-1a"
    role: str = "baton-lab-node"
    credentials: Credentials | None = None
    node: Mapping[str, object] | None = None
    """/etc/baton/node.json; with it, node_hook/ is installed to /opt/baton and its units too."""
    hook: Path = REPOSITORY / "node_hook"
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files by absolute path, written at each boot; `#!` makes one executable."""
    units: tuple[str, ...] = ()
    """Units that start at boot, for example ("amazon-ssm-agent.service", "keepalived.service")."""
    python: Path = PYTHON
    """What `python3` is in the host: an interpreter that has boto3."""
    persistent: tuple[str, ...] = ()
    """Further directories that outlive a reboot."""


def metadata(spec: Spec, secondary: tuple[str, ...]) -> dict[str, str]:
    """What the instance metadata service says, by path."""
    mac = hardware(spec.address)
    interface = f"latest/meta-data/network/interfaces/macs/{mac}"
    document = {
        "instanceId": spec.instance,
        "region": spec.region,
        "availabilityZone": spec.zone,
        "privateIp": spec.address,
    }
    data = {
        "latest/meta-data/instance-id": spec.instance,
        "latest/meta-data/local-ipv4": spec.address,
        "latest/meta-data/mac": mac,
        "latest/meta-data/placement/region": spec.region,
        "latest/meta-data/placement/availability-zone": spec.zone,
        "latest/dynamic/instance-identity/document": json.dumps(document),
        f"{interface}/local-ipv4s": "\n".join((spec.address, *secondary)),
        f"{interface}/interface-id": spec.interface,
        f"{interface}/device-number": "0",
        f"{interface}/subnet-ipv4-cidr-block": f"10.9.0.0/{PREFIX}",
    }
    if spec.credentials:
        path = "latest/meta-data/iam/security-credentials"
        data[path + "/" + spec.role] = json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": "2026-01-01T00:00:00Z",
                "AccessKeyId": spec.credentials.access_key,
                "SecretAccessKey": spec.credentials.secret_key,
                "Token": spec.credentials.token,
                "Expiration": "2099-01-01T00:00:00Z",
            }
        )
    return data


def install(spec: Spec, tree: Path) -> None:
    """Make the tree of files that the host's boot copies into its root."""
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("systemctl", "ssm_agent", "imds"):
        path = {
            "systemctl": "usr/bin/systemctl",
            "ssm_agent": "usr/bin/amazon-ssm-agent",
            "imds": "usr/lib/lab/imds",
        }[name]
        _write(tree / path, _program(f"lab.hosts.inside.{name}"))
    for path in ("usr/bin/python3", "usr/local/bin/python3"):
        _write(tree / path, _interpreter(spec.python))
    for path in ("usr/local/bin/systemctl", "usr/sbin/systemctl"):
        _link(tree / path, "/usr/bin/systemctl")
    system = tree / "etc/systemd/system"
    _write(system / AGENT_UNIT, AGENT)
    _write(system / "keepalived.service.d/lab.conf", KEEPALIVED)
    _write(tree / "etc/hostname", spec.name + "\n")
    # No name server: whoever looks a name up is refused at once, instead of waiting for an answer.
    _write(tree / "etc/hosts", f"127.0.0.1 localhost\n{spec.address} {spec.name}\n")
    _write(tree / "etc/resolv.conf", "nameserver 127.0.0.1\n")
    if spec.node is not None:
        _hook(spec, tree, system)
    for path, text in spec.files.items():
        _write(tree / path.lstrip("/"), text)
    for unit in spec.units:
        _link(system / "multi-user.target.wants" / unit, f"/etc/systemd/system/{unit}")


def _hook(spec: Spec, tree: Path, system: Path) -> None:
    shutil.copytree(
        spec.hook, tree / "opt/baton", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    for script in (tree / "opt/baton").glob("*.py"):
        script.chmod(0o755)
    for unit in spec.hook.glob("*.service"):
        _write(system / unit.name, unit.read_text(encoding="utf-8"))
    _write(tree / "etc/baton/node.json", text_of(spec.node or {}))


def _program(module: str) -> str:
    """A program of the lab that stands in for one of the machine's."""
    return (
        f"#!{os.path.realpath(sys.executable)} -IS\nimport sys\n"
        f"sys.dont_write_bytecode = True\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        f"from {module} import main\nsys.exit(main(sys.argv[1:]))\n"
    )


def _interpreter(python: Path) -> str:
    """`python3`: a virtual environment is known by the name that its interpreter is called by."""
    return f'#!/bin/bash\nexec -a "{python}" "{os.path.realpath(python)}" "$@"\n'


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755 if text.startswith("#!") else 0o644)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
