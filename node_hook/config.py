"""The node's configuration, /etc/baton/node.json: what runs as root here, and nothing else does.

It is rendered from the cluster definition and owned by root. A file that others could have written
is refused, for its units and commands would run with root's rights. Each defect is one sentence.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from typing import Any, Optional

from node_hook.paths import Paths, config_path, paths_from

VERSION = 1
"""Version of the file. A later one is refused: it may ask for what this software does not know."""

_LARGEST = 1 << 20
"""Bytes. A configuration is some kilobytes; anything of this size is a mistake."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_STAGE = re.compile(r"[a-z][a-z0-9-]{0,15}")
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
_VOLUME = re.compile(r"vol-[0-9a-f]{8,17}")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,200}\.(service|socket|target|timer|path|scope|slice)")
_OPTION = re.compile(r"[A-Za-z0-9_.:=/+-]{1,200}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_VRRP = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SYSTEM = frozenset(
    "/ /bin /boot /dev /etc /home /lib /lib64 /opt /proc /root /run /sbin /srv /sys /tmp /usr /var".split()
)
"""Mount points that a volume must never cover."""


class ConfigError(Exception):
    """The configuration cannot be used; the text says what to change."""


@dataclass(frozen=True)
class Volume:
    """A volume and where it belongs. `uuid`: the filesystem's, checked if given."""

    id: str
    mount: str
    filesystem: str
    options: tuple[str, ...] = ()
    uuid: Optional[str] = None
    partition: Optional[int] = None

    @property
    def serial(self) -> str:
        """The device's serial number: the volume id without its dash."""
        return self.id.replace("-", "")


@dataclass(frozen=True)
class Health:
    """The command that says whether the service works: exit 0 within the timeout."""

    command: tuple[str, ...]
    every_seconds: float = 5.0
    failures: int = 3
    timeout_seconds: float = 5.0


@dataclass(frozen=True)
class Address:
    """A service address, which keepalived adds and removes."""

    address: str
    interface: str
    prefix: int


@dataclass(frozen=True)
class Config:
    """node.json, checked. `digest` is the SHA-256 of the file, as every word reports it."""

    stage: str
    cluster: str
    node: Optional[str]
    vrrp_instance: str
    priority: int
    heartbeat_seconds: float
    region: str
    endpoint_url: Optional[str]
    role_id: Optional[str]
    volumes: tuple[Volume, ...]
    units: tuple[str, ...]
    unit_seconds: float
    health: Optional[Health]
    addresses: tuple[Address, ...]
    paths: Paths
    digest: str


def load(path: Optional[str] = None) -> Config:
    """The configuration in this file. Raises ConfigError, in one sentence, for any defect."""
    import hashlib

    where = path or config_path()
    text = _read(where)
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where} is not JSON: {error}") from error
    try:
        return parse(raw, hashlib.sha256(text).hexdigest())
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def parse(raw: Any, digest: str = "") -> Config:
    """The configuration in a decoded document. Raises ConfigError."""
    if not isinstance(raw, dict):
        raise ConfigError("it must be a JSON object")
    table = _Table(raw, "")
    if table.integer("version", VERSION, 1, 1 << 30) != VERSION:
        raise ConfigError(f"version {raw['version']} is not known here: install newer software")
    volumes = tuple(_volume(t) for t in table.tables("volumes"))
    _check_mounts(volumes)
    cluster = table.text("cluster", _NAME)
    health = table.table("health")
    return Config(
        stage=table.text("stage", _STAGE),
        cluster=cluster,
        node=table.optional("node", _INSTANCE),
        vrrp_instance=table.optional("vrrp_instance", _VRRP) or f"baton-{cluster}",
        priority=table.integer("priority", 254, 1, 254),
        heartbeat_seconds=table.seconds("heartbeat_seconds", 15.0, 1.0, 300.0),
        region=table.optional("region", re.compile(r"[a-z0-9-]{1,32}")) or "",
        endpoint_url=table.optional("endpoint_url", re.compile(r"https?://[\x21-\x7e]{1,300}")),
        role_id=table.optional("role_id", re.compile(r"AROA[A-Z0-9]{4,60}")),
        volumes=volumes,
        units=table.texts("units", _UNIT),
        unit_seconds=table.seconds("unit_seconds", 10.0, 0.1, 3600.0),
        health=_health(health) if health else None,
        addresses=tuple(_address(t) for t in table.tables("addresses")),
        paths=_paths(raw.get("paths") or {}),
        digest=digest,
    )


def _read(where: str) -> bytes:
    try:
        descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"cannot read {where}: {error.strerror}; is Baton installed?") from error
    with os.fdopen(descriptor, "rb") as file:
        _trust(where, os.fstat(file.fileno()))
        parent = os.path.dirname(os.path.realpath(where))
        _trust(parent, os.stat(parent))
        return file.read(_LARGEST)


def _trust(where: str, found: os.stat_result) -> None:
    """Refuse what somebody other than root could have put there."""
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ConfigError(f"{where} is not a regular file")
    if found.st_uid != 0:
        raise ConfigError(f"{where} is owned by uid {found.st_uid}; it must be owned by root")
    if found.st_mode & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigError(f"{where} is writable by others (mode {mode:o}): run chmod go-w {where}")


class _Table:
    """A JSON object whose entries are taken out by what they must be."""

    def __init__(self, raw: Any, name: str) -> None:
        if not isinstance(raw, dict):
            raise ConfigError(f"{name} must be an object")
        self.raw = raw
        self.name = name

    def _where(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self.optional(key, pattern)
        if value is None:
            raise ConfigError(f"{self._where(key)} is missing")
        return value

    def optional(self, key: str, pattern: re.Pattern[str]) -> Optional[str]:
        value = self.raw.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ConfigError(f"{self._where(key)} cannot be {str(value)[:80]!r}")
        return value

    def texts(self, key: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
        values = self.raw.get(key) or []
        if not isinstance(values, list):
            raise ConfigError(f"{self._where(key)} must be a list")
        for value in values:
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise ConfigError(f"{self._where(key)} cannot hold {str(value)[:80]!r}")
        return tuple(values)

    def seconds(self, key: str, default: float, least: float, most: float) -> float:
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{self._where(key)} must be a number of seconds")
        if not least <= value <= most:
            raise ConfigError(f"{self._where(key)} must be between {least} and {most}, not {value}")
        return float(value)

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{self._where(key)} must be a whole number")
        if not least <= value <= most:
            raise ConfigError(f"{self._where(key)} must be between {least} and {most}, not {value}")
        return value

    def table(self, key: str) -> Optional[_Table]:
        return _Table(self.raw[key], self._where(key)) if self.raw.get(key) else None

    def tables(self, key: str) -> list[_Table]:
        values = self.raw.get(key) or []
        if not isinstance(values, list):
            raise ConfigError(f"{self._where(key)} must be a list")
        return [_Table(value, f"{self._where(key)}[{i}]") for i, value in enumerate(values)]


def _volume(table: _Table) -> Volume:
    mount = table.text("mount", re.compile(r"/[^\x00-\x20,]{1,255}"))
    if os.path.normpath(mount) != mount or mount in _SYSTEM:
        raise ConfigError(f"{table.name}.mount cannot be {mount!r}: name a directory of its own")
    partition = table.integer("partition", 1, 1, 128) if table.raw.get("partition") else None
    return Volume(
        id=table.text("id", _VOLUME),
        mount=mount,
        filesystem=table.text("filesystem", re.compile("ext4|xfs")),
        options=table.texts("options", _OPTION),
        uuid=table.optional("uuid", _UUID),
        partition=partition,
    )


def _check_mounts(volumes: tuple[Volume, ...]) -> None:
    for index, volume in enumerate(volumes):
        for earlier in volumes[:index]:
            if earlier.mount == volume.mount:
                raise ConfigError(f"{volume.mount} is the mount point of two volumes")
            if earlier.id == volume.id and earlier.partition == volume.partition:
                raise ConfigError(f"{volume.id} is listed twice")
            if earlier.mount.startswith(volume.mount + "/"):
                raise ConfigError(f"list {volume.mount} before {earlier.mount}, which lies in it")


def _health(table: _Table) -> Health:
    command = table.texts("command", re.compile(r"[^\x00]{1,4096}"))
    if not command or not command[0].startswith("/"):
        raise ConfigError("health.command must begin with the absolute path of a program")
    return Health(
        command=command,
        every_seconds=table.seconds("every_seconds", 5.0, 0.05, 3600.0),
        failures=table.integer("failures", 3, 1, 1000),
        timeout_seconds=table.seconds("timeout_seconds", 5.0, 0.05, 3600.0),
    )


def _address(table: _Table) -> Address:
    import ipaddress

    address = table.text("address", re.compile(r"[0-9a-fA-F.:]{2,45}"))
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise ConfigError(f"{table.name}.address: {error}") from error
    most = 32 if version == 4 else 128
    return Address(
        address=address,
        interface=table.text("interface", _INTERFACE),
        prefix=table.integer("prefix", most, 1, most),
    )


def _paths(raw: Any) -> Paths:
    if not isinstance(raw, dict):
        raise ConfigError("paths must be an object")
    try:
        return paths_from(raw)
    except ValueError as error:
        raise ConfigError(str(error)) from error
