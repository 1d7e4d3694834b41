"""node.json: only root's word counts, and each defect is one clear sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from node_hook.config import ConfigError, load, parse

GOOD: dict[str, Any] = {
    "version": 1,
    "stage": "prod",
    "cluster": "orders",
    "volumes": [
        {"id": "vol-0123456789abcdef0", "mount": "/srv/orders", "filesystem": "ext4", "options": ["noatime"]},
        {"id": "vol-0123456789abcdef1", "mount": "/srv/orders/wal", "filesystem": "xfs"},
    ],
    "units": ["ledger.service"],
    "health": {"command": ["/usr/bin/true"]},
    "addresses": [{"address": "10.9.0.100", "interface": "eth0", "prefix": 24}],
}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs files that are owned by root")


def test_a_good_one() -> None:
    """Defaults are filled in."""
    config = parse(GOOD)
    assert (config.heartbeat_seconds, config.priority) == (15.0, 254)
    assert config.vrrp_instance == "baton-orders" and config.health and config.health.failures == 3
    assert config.volumes[0].serial == "vol0123456789abcdef0"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 2 is not known"),
        ({"cluster": "Or;ders"}, "cluster cannot be"),
        ({"cluster": None}, "cluster is missing"),
        ({"units": ["$(reboot).service"]}, "units cannot hold"),
        ({"units": "ledger.service"}, "units must be a list"),
        ({"unit_seconds": "5"}, "unit_seconds must be a number"),
        ({"unit_seconds": -1}, "must be between"),
        ({"health": {"command": ["true"]}}, "absolute path"),
        ({"health": {"command": []}}, "absolute path"),
        ({"volumes": [{**GOOD["volumes"][0], "mount": "/srv/../etc"}]}, "mount cannot be"),
        ({"volumes": [{**GOOD["volumes"][0], "mount": "/"}]}, "mount cannot be"),
        ({"volumes": [{**GOOD["volumes"][0], "mount": "/usr"}]}, "directory of its own"),
        ({"volumes": [{**GOOD["volumes"][0], "options": ["a,b"]}]}, "options cannot hold"),
        ({"volumes": [{**GOOD["volumes"][0], "filesystem": "btrfs"}]}, "filesystem cannot be"),
        ({"volumes": [{**GOOD["volumes"][0], "id": "vol-1; rm"}]}, "id cannot be"),
        ({"volumes": [GOOD["volumes"][0], GOOD["volumes"][0]]}, "two volumes"),
        ({"volumes": GOOD["volumes"][::-1]}, "list /srv/orders before"),
        ({"addresses": [{"address": "10.9.0.300", "interface": "eth0", "prefix": 24}]}, "address"),
        ({"paths": {"sate": "/x"}}, "paths.sate is not a path"),
        ({"paths": {"state": "x"}}, "absolute path"),
    ],
)
def test_a_defect_is_one_sentence(change: dict[str, Any], says: str) -> None:
    """It names the field and what it cannot be."""
    with pytest.raises(ConfigError) as caught:
        parse({**GOOD, **change})
    assert says in str(caught.value) and "\n" not in str(caught.value)


@as_root
def test_who_could_have_written_it_counts(tmp_path: Path) -> None:
    """Owned by somebody else, writable by others, or in a directory that is: refused."""
    directory = tmp_path / "baton"
    directory.mkdir(mode=0o755)
    path = directory / "node.json"
    path.write_text(json.dumps(GOOD))
    path.chmod(0o644)
    digest = load(str(path)).digest
    assert len(digest) == 64
    for mode in (0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="writable by others"):
            load(str(path))
    path.chmod(0o644)
    os.chown(path, 1234, 0)
    with pytest.raises(ConfigError, match="owned by uid 1234"):
        load(str(path))
    os.chown(path, 0, 0)
    directory.chmod(0o777)
    with pytest.raises(ConfigError, match="writable by others"):
        load(str(path))
    directory.chmod(0o755)
    assert load(str(path)).digest == digest


@as_root
def test_what_is_no_file_or_no_json(tmp_path: Path) -> None:
    """A FIFO does not make the script wait."""
    tmp_path.chmod(0o755)
    fifo = tmp_path / "node.json"
    os.mkfifo(fifo)
    with pytest.raises(ConfigError, match="not a regular file"):
        load(str(fifo))
    with pytest.raises(ConfigError, match="cannot read"):
        load(str(tmp_path / "none.json"))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load(str(broken))
