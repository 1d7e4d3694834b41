"""systemd's unit files, as far as a service manager needs them. Standard library only.

Honoured: Exec*, Type, Restart, RestartSec, Timeout*Sec, KillMode, KillSignal, SendSIGKILL,
Environment, EnvironmentFile, WorkingDirectory, PIDFile, RemainAfterExit, RuntimeDirectory,
StateDirectory, ordering, Wants and Requires, drop-ins. Ignored: User, sandboxing, limits.
"""

import glob
import os
import re
import shlex
from dataclasses import dataclass, field

SEARCH = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
TIMEOUT_SECONDS = 90.0
"""systemd's default for starting and for stopping."""
RESTART_SECONDS = 0.1
SPAN = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "": 1.0}


class NoUnit(Exception):
    """There is no such unit file."""


@dataclass
class Unit:
    """A unit file with its drop-ins: each key's values in order."""

    name: str
    path: str
    values: dict[str, list[str]] = field(default_factory=dict)

    def all(self, key: str) -> list[str]:
        """Every value given for a key."""
        return [self._specifiers(value) for value in self.values.get(key, [])]

    def one(self, key: str, default: str = "") -> str:
        """The last value given for a key."""
        return (self.all(key) or [default])[-1]

    def words(self, key: str) -> list[str]:
        """All values of a list key, split."""
        return [word for value in self.all(key) for word in value.split()]

    def truth(self, key: str, default: bool) -> bool:
        """A yes-or-no key."""
        return self.one(key, "yes" if default else "no").lower() in ("yes", "true", "1", "on")

    def seconds(self, key: str, default: float) -> float:
        """A time span such as `5`, `90s`, `1min 30s`, `infinity`."""
        text = self.one(key)
        if not text:
            return default
        if text == "infinity":
            return float("inf")
        spans = re.findall(r"([\d.]+)\s*([a-z]*)", text)
        return sum(float(number) * SPAN.get(unit, 1.0) for number, unit in spans)

    @property
    def kind(self) -> str:
        """Type=; a service without a command is a oneshot."""
        return self.one("Service.Type", "simple" if self.all("Service.ExecStart") else "oneshot")

    def environment(self) -> dict[str, str]:
        """Environment= and EnvironmentFile=."""
        given: dict[str, str] = {}
        for value in self.all("Service.Environment"):
            given.update(dict(pair.split("=", 1) for pair in shlex.split(value) if "=" in pair))
        for path in self.all("Service.EnvironmentFile"):
            given.update(_environment_file(path))
        return given

    def _specifiers(self, value: str) -> str:
        stem = self.name.rsplit(".", 1)[0]
        instance = stem.partition("@")[2]
        known = {
            "n": self.name,
            "N": stem,
            "i": instance,
            "I": instance,
            "%": "%",
            "p": stem.partition("@")[0],
            "t": "/run",
            "S": "/var/lib",
        }
        return re.sub(r"%(.)", lambda found: known.get(found[1], found[0]), value)


def full_name(name: str) -> str:
    """`ledger` means `ledger.service`."""
    return name if "." in os.path.basename(name) else name + ".service"


def load(name: str) -> Unit:
    """Read a unit with its drop-ins. Raises NoUnit."""
    stem, _, suffix = name.rpartition(".")
    template = f"{stem.partition('@')[0]}@.{suffix}" if "@" in stem else name
    for candidate in dict.fromkeys((name, template)):
        for directory in SEARCH:
            if os.path.exists(f"{directory}/{candidate}"):
                return _read(name, f"{directory}/{candidate}", candidate)
    raise NoUnit(f"Unit {name} not found.")


def _read(name: str, path: str, candidate: str) -> Unit:
    unit = Unit(name, path)
    drop_ins = [
        file
        for directory in reversed(SEARCH)
        for file in sorted(glob.glob(f"{directory}/{candidate}.d/*.conf"))
    ]
    for file in (path, *drop_ins):
        with open(file, encoding="utf-8") as text:
            _parse(text.read(), unit.values)
    return unit


def _parse(text: str, values: dict[str, list[str]]) -> None:
    section = ""
    for raw in re.sub(r"\\\n\s*", " ", text).splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, _, value = line.partition("=")
        name = f"{section}.{key.strip()}"
        # An empty value forgets what was given before: systemd's way to override in a drop-in.
        values[name] = [*values.get(name, []), value.strip()] if value.strip() else []


def _environment_file(path: str) -> dict[str, str]:
    try:
        with open(path.removeprefix("-"), encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except OSError:
        if path.startswith("-"):
            return {}
        raise
    pairs = [line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;"]
    return {key.strip(): "".join(shlex.split(value)[:1]) for key, value in pairs}


def argv(command: str, environment: dict[str, str]) -> tuple[list[str], bool]:
    """A command's words with `$NAME` and `${NAME}` put in, and whether its failure is ignored."""
    prefix = re.match(r"[-@:+!|]*", command)
    marks = prefix[0] if prefix else ""
    words: list[str] = []
    for word in shlex.split(command[len(marks) :].strip()):
        alone = re.fullmatch(r"\$([A-Za-z_]\w*)", word)
        if alone:
            words += environment.get(alone[1], "").split()
            continue
        words.append(
            re.sub(
                r"\$\{(\w+)\}|\$([A-Za-z_]\w*)", lambda found: environment.get(found[1] or found[2], ""), word
            )
        )
    return [word.replace("$$", "$") for word in words], "-" in marks


def ordered(names: list[str]) -> list[str]:
    """Units in the order in which they start: After= and Before= among themselves."""
    units = {name: load(name) for name in names}
    after = {
        name: {other for other in unit.words("Unit.After") if other in units} for name, unit in units.items()
    }
    for name, unit in units.items():
        for other in unit.words("Unit.Before"):
            if other in after:
                after[other].add(name)
    done: list[str] = []
    while len(done) < len(names):
        free = [name for name in names if name not in done and after[name] <= set(done)]
        # A circle of orderings: systemd breaks it too, by dropping one.
        done.append((free or [name for name in names if name not in done])[0])
    return done
