"""install.sh: run twice it changes nothing, everything is root's, and uninstall leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HOOK = Path(__file__).resolve().parents[2] / "node_hook"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs files that are owned by root"),
    pytest.mark.slow,
]


def install(root: Path, *words: str, hook: Path = HOOK) -> str:
    """Run install.sh; what it says."""
    done = subprocess.run(
        ["sh", str(hook / "install.sh"), "--root", str(root), *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every path below, with mode, owner and time of change."""
    found = {}
    for path in root.rglob("*"):
        seen = path.lstat()
        found[str(path.relative_to(root))] = (seen.st_mode, seen.st_uid, seen.st_mtime_ns)
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A node.json with a unit."""
    path = tmp_path / "node.json"
    path.write_text(json.dumps({"version": 1, "units": ["ledger.service", "web.service"]}))
    return path


def test_twice_is_once(tmp_path: Path, config: Path) -> None:
    """The second run replaces no file."""
    root = tmp_path / "root"
    assert "changed: yes" in install(root, "--config", str(config))
    before = {name: seen for name, seen in tree(root).items() if "__pycache__" not in name}
    assert "changed: no" in install(root, "--config", str(config))
    after = tree(root)
    files = {name for name in before if (root / name).is_file() and not (root / name).is_symlink()}
    assert {name: after[name] for name in files} == {name: before[name] for name in files}
    for name in ("opt/baton/node.py", "opt/baton/publish.py", "etc/baton/node.json", "var/lib/baton"):
        assert name in after


def test_nobody_else_could_write_any_of_it(tmp_path: Path, config: Path) -> None:
    """Owned by root, not writable by others, whatever the caller's umask and the source's modes."""
    root, source = tmp_path / "root", tmp_path / "source"
    shutil.copytree(HOOK, source, ignore=shutil.ignore_patterns("__pycache__"))
    for path in source.rglob("*"):
        path.chmod(0o777)
    old = os.umask(0)
    try:
        install(root, "--config", str(config), hook=source)
    finally:
        os.umask(old)
    for name, (mode, owner, _) in tree(root).items():
        assert owner == 0, name
        assert (root / name).is_symlink() or not mode & 0o022, f"{name} {mode:o}"
    assert tree(root)["var/lib/baton"][0] & 0o777 == 0o700


def test_order_at_a_shutdown(tmp_path: Path, config: Path) -> None:
    """The release comes after the cluster's units, and before the publisher and the network."""
    root = tmp_path / "root"
    install(root, "--config", str(config))
    system = root / "etc/systemd/system"
    assert "Before=ledger.service web.service" in (system / "baton-node.service.d/units.conf").read_text()
    unit = (system / "baton-node.service").read_text()
    after = next(line for line in unit.splitlines() if line.startswith("After="))
    assert "network-online.target" in after and "baton-publish.service" in after
    assert "After=baton-publish.service" in (system / "keepalived.service.d/baton.conf").read_text()
    publisher = settings(system / "baton-publish.service")
    assert "keepalived.service" in publisher["Before"] and "network-online.target" in publisher["After"]


def settings(unit: Path) -> dict[str, str]:
    """A unit file's settings; of one that is given twice the last."""
    lines = [line for line in unit.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize("unit", ["baton-publish.service", "baton-node.service"])
def test_units_are_hardened_but_see_the_hosts_mounts(unit: str) -> None:
    """Whatever gives a unit a mount namespace of its own would keep a volume mounted in there."""
    found = settings(HOOK / unit)
    assert found["NoNewPrivileges"] == "yes" and "RestrictAddressFamilies" in found
    own_mounts = ("Private", "Protect", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "Temporary", "Root")
    assert not [key for key in found if key.startswith(own_mounts) or key in ("MountFlags", "DynamicUser")]


def test_what_an_earlier_version_had_goes(tmp_path: Path) -> None:
    """A module that is no longer part of it is not left lying there to be imported."""
    root = tmp_path / "root"
    install(root)
    (root / "opt/baton/old.py").write_text("")
    install(root)
    assert not (root / "opt/baton/old.py").exists()


def test_uninstall_leaves_nothing(tmp_path: Path, config: Path) -> None:
    """No file of ours, and every file of others."""
    root = tmp_path / "root"
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system/other.service").write_text("[Unit]\n")
    before = {path for path in tree(root) if (root / path).is_file()}
    install(root, "--config", str(config))
    (root / "var/lib/baton/epoch.json").write_text("{}")
    install(root, "--uninstall")
    assert {path for path in tree(root) if not (root / path).is_dir()} == before
    assert not [path for path in tree(root) if "baton" in path]
    install(root, "--uninstall")


@pytest.mark.parametrize("python", ["python3", "python3.9"])
def test_the_installed_script_runs(tmp_path: Path, python: str) -> None:
    """From where it is installed, by the interpreter that is there, standard library only."""
    found = next((str(p) for p in Path.home().glob(f".pyenv/versions/3.9*/bin/{python}")), None)
    found = shutil.which(python) if python == "python3" else found or shutil.which(python)
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} is not here")
    root = tmp_path / "root"
    install(root)
    done = subprocess.run(
        [found, "-IS", str(root / "opt/baton/node.py"), "status"],
        env={"BATON_CONFIG": str(root / "none.json")},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert json.loads(done.stdout.splitlines()[-1])["code"] == "configuration"


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    """systemd-analyze finds nothing to say about them, where it is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    root = tmp_path / "root"
    install(root)
    names = [str(root / "etc/systemd/system" / unit.name) for unit in HOOK.glob("*.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--root", str(root), *names],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "Unknown key" in line or "Invalid" in line]
    assert not said, done.stderr
