"""`./baton node-user-data`: what a new node runs at its first boot, as EC2 user data."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import shlex
import tarfile
from pathlib import Path
from string import Template
from typing import Any, Final

import click

from cli.session import Session, in_stage
from infra.account import Trouble

ROOT: Final = Path(__file__).parent.parent
SCRIPT: Final = Path(__file__).with_name("first_boot.sh")
USER_DATA_MOST: Final = 16 * 1024
"""EC2's limit. The node's programs are larger, so they come from a URL and are checked by hash."""


@click.command()
@click.argument("cluster")
@click.option("--package", metavar="URL", required=True, help="Where nodes fetch the package from.")
@click.option("--write", metavar="FILE", type=click.Path(path_type=Path), help="Write the package here.")
@in_stage
def command(session: Session, cluster: str, package: str, write: Path | None) -> None:
    """Print the user data for nodes of CLUSTER.

    Nodes have no permission to read S3, so the package that --write makes has to be where they can
    fetch it without one: an internal web server, or a presigned URL. Its hash is in the user data;
    another package is not run.
    """
    content = node_package()
    if write is not None:
        write.write_bytes(content)
    click.echo(user_data(session, cluster, package, hashlib.sha256(content).hexdigest()), nl=False)


def node_package() -> bytes:
    """`node_hook/`, packed: the same files always give the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted((ROOT / "node_hook").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.addfile(_entry(path), io.BytesIO(path.read_bytes()))
    return lzma.compress(packed.getvalue(), preset=9)


def _entry(path: Path) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(str(path.relative_to(ROOT)))
    entry.size = path.stat().st_size
    entry.mode = 0o755 if path.suffix in (".py", ".sh") else 0o644
    return entry


def user_data(session: Session, cluster: str, package: str, digest: str) -> str:
    """The script, with the cluster's definition and the nodes that are known now."""
    defined = session.cluster(cluster)
    parameter = session.client("ssm").get_parameter(Name=session.names.definition(cluster))
    definition = json.loads(parameter["Parameter"]["Value"])
    place = (session.names.stage, session.account.region)
    text = first_boot(definition, addresses_of(session, defined.nodes), place, (package, digest))
    if len(text.encode()) > USER_DATA_MOST:
        raise Trouble(f"{cluster}: its user data is larger than EC2's 16 KB: shorten its definition.")
    return text


def first_boot(
    definition: dict[str, Any], peers: dict[str, str], place: tuple[str, str], package: tuple[str, str]
) -> str:
    """The script itself. `place`: stage and Region; `package`: its URL and its hash."""
    return Template(SCRIPT.read_text()).substitute(
        cluster=definition["name"],
        stage=place[0],
        region=shlex.quote(place[1]),
        package=shlex.quote(package[0]),
        digest=package[1],
        definition=json.dumps(definition, indent=1),
        peers=" ".join(f"{node}={address}" for node, address in peers.items()),
    )


def addresses_of(session: Session, nodes: tuple[str, ...]) -> dict[str, str]:
    """Each node's primary private address; one that is terminated has none."""
    filters = [{"Name": "instance-id", "Values": list(nodes)}]
    pages = session.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    return {i["InstanceId"]: i["PrivateIpAddress"] for i in found if "PrivateIpAddress" in i}
