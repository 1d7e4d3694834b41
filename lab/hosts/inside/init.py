"""PID 1 of a host: makes the host's root, then reaps what dies until the power goes.

    init.py BOOT_JSON READY_FD

Runs in fresh namespaces, made by unshare. The root is an overlay over the machine's own, kept in
memory: a host never writes to the machine. A root on a loop device would hang with it when yanked.
BOOT_JSON: {"hostname", "directory", "boot", "binds": [[source, target, read_only], ...]}; the tree
`directory`/install is copied into the root.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys

RDONLY, NOSUID, REMOUNT, BIND, REC = 1, 2, 32, 4096, 16384
DETACH = 2
LIBC = ctypes.CDLL(None, use_errno=True)
NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
HIDDEN = (
    *("/dev", "/run", "/tmp", "/var/tmp", "/sys/block", "/sys/class/block", "/sys/dev/block"),
    # What the machine's administrator enabled must not start in each host.
    *("/etc/systemd/system", "/etc/baton", "/opt/baton"),
)
"""Empty in a host, and in memory: the machine's own must not show through."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); raises OSError with both paths."""
    if not os.path.exists(target):
        os.makedirs(target)
    given = [text.encode() or None for text in (source, target, kind, options)]
    if LIBC.mount(given[0], given[1], given[2], ctypes.c_ulong(flags), given[3]) != 0:
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}: {os.strerror(ctypes.get_errno())}")


def bind(source: str, target: str, read_only: bool) -> None:
    """Show a file or directory of the machine at another place of the host."""
    if not os.path.isdir(source) and not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "wb").close()
    mount(source, target, flags=BIND | REC)
    if read_only:
        mount("", target, flags=BIND | REMOUNT | RDONLY)


def overlay(directory: str) -> str:
    """The host's root: the machine's, with everything written kept in memory."""
    mount("host", directory + "/mnt", "tmpfs", NOSUID, "mode=755,size=512m")
    upper, work, root = (f"{directory}/mnt/{name}" for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        os.mkdir(path)
    mount("root", root, "overlay", options=f"lowerdir=/,upperdir={upper},workdir={work}")
    return root


def own_filesystems(root: str) -> None:
    """A host's own /proc, /sys and whatever HIDDEN names.

    The machine's block devices are hidden: /sys/block and its two indexes are empty, and the lab
    enters there what it attaches, with the files that the kernel offers for an NVMe device.
    """
    mount("proc", root + "/proc", "proc")
    mount("sysfs", root + "/sys", "sysfs", RDONLY)
    for path in HIDDEN:
        mount("tmpfs", root + path, "tmpfs", NOSUID, "mode=755")
    os.chmod(root + "/tmp", 0o1777)
    os.chmod(root + "/var/tmp", 0o1777)


def devices(root: str) -> None:
    """The few device nodes that programs expect."""
    for name, major, minor in NODES:
        os.mknod(f"{root}/dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(f"{root}/dev/{name}", 0o666)
    for link, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{root}/dev/{link}")
    for path in ("/dev/disk/by-id", "/dev/shm", "/run/lock"):
        os.makedirs(root + path)


def install(tree: str, root: str) -> None:
    """Copy a tree into the root. Links in the way are replaced, not followed."""
    for directory, _, files in os.walk(tree):
        target = root + directory[len(tree) :]
        os.makedirs(target, exist_ok=True)
        for name in files:
            if os.path.lexists(f"{target}/{name}"):
                os.unlink(f"{target}/{name}")
            shutil.copy2(f"{directory}/{name}", f"{target}/{name}", follow_symlinks=False)


def enter(root: str) -> None:
    """Make it the root, and let go of the machine's."""
    os.makedirs(root + "/.machine")
    os.chdir(root)
    subprocess.run(["pivot_root", ".", ".machine"], check=True, timeout=10)
    os.chdir("/")
    if LIBC.umount2(b"/.machine", DETACH) != 0:
        raise OSError(ctypes.get_errno(), "cannot let go of the machine's root")
    os.rmdir("/.machine")


def network_settings() -> None:
    """Removing one address must not drop its neighbours of the same subnet."""
    for path, value in (
        ("ipv4/conf/all/promote_secondaries", "1"),
        ("ipv4/conf/default/promote_secondaries", "1"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ):
        if os.path.exists(f"/proc/sys/net/{path}"):
            with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as setting:
                setting.write(value)


def boot(given: dict) -> None:  # type: ignore[type-arg]
    """Everything until the host is up."""
    socket.sethostname(given["hostname"])
    root = overlay(given["directory"])
    own_filesystems(root)
    devices(root)
    for source, target, read_only in given["binds"]:
        bind(source, root + target, read_only)
    install(given["directory"] + "/install", root)
    with open(root + "/run/boot_id", "w", encoding="ascii") as file:
        file.write(given["boot"] + "\n")
    bind(root + "/run/boot_id", root + BOOT_ID, True)
    enter(root)
    network_settings()


def main() -> None:
    """Say `up` or what went wrong, then reap for ever."""
    ready = int(sys.argv[2])
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            boot(json.load(file))
    except BaseException as error:
        os.write(ready, f"{type(error).__name__}: {error}".encode())
        raise
    os.write(ready, b"up")
    os.close(ready)
    # The kernel reaps for a process that ignores this signal.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
