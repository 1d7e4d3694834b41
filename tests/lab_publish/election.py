"""Two real keepalived on one wire, each in a network namespace; the first has the publisher.

keepalived has a TMPDIR of its own here, because that is where it answers when it is asked, and
other tests on this machine may ask other ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.node_publish.stage import PUBLISH, Node, stage, wait

ADDRESS = "10.9.0.100"
NAMES = ("a", "b")

TEMPLATE = """
global_defs {{
  enable_script_security
  script_user root
  vrrp_version 3
  {fifo}
}}
track_file hold {{
  file {root}/hold
  weight 0
  init_file 0
}}
vrrp_instance baton-orders {{
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int 0.1
  unicast_src_ip 10.9.0.{own}
  unicast_peer {{
    10.9.0.{peer}
  }}
  {notify}
  track_file {{
    hold
  }}
  virtual_ipaddress {{
    {address}/24 dev eth0
  }}
}}
"""


def run(*argv: str, check: bool = True) -> str:
    """A short command, bounded."""
    return subprocess.run(
        argv,
        check=check,
        timeout=10,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout


@dataclass
class Election:
    """The wire and what is on it. `node` is the first one's publisher."""

    root: Path
    node: Node
    tag: str
    started: dict[str, subprocess.Popen[bytes]]
    hook: bool = False

    def namespace(self, name: str) -> str:
        """The network namespace of this side."""
        return f"{self.tag}{name}"

    def keepalived(self, name: str) -> int:
        """Start keepalived; the pid of its main process."""
        folder = self.root / f"ka-{name}"
        folder.mkdir(exist_ok=True)
        first, run_folder = name == "a", self.node.root / "run"
        if first and self.hook:
            script = self.root / "hook.sh"
            lines = [f"export {key}='{value}'" for key, value in self.node.environment.items()]
            command = f'exec {sys.executable} {PUBLISH} notify "$@" 2>>{self.node.root}/log'
            script.write_text("\n".join(["#!/bin/sh", *lines, command, ""]))
            script.chmod(0o755)
        text = TEMPLATE.format(
            fifo=f"vrrp_notify_fifo {run_folder}/vrrp.fifo" if first and not self.hook else "",
            notify=f"notify {self.root}/hook.sh" if first and self.hook else "",
            root=run_folder if first else folder,
            priority=254 if first else 253,
            own=1 if first else 2,
            peer=2 if first else 1,
            address=ADDRESS,
        )
        (folder / "keepalived.conf").write_text(text)
        pid_file = run_folder / "keepalived.pid" if first else folder / "keepalived.pid"
        pid_file.unlink(missing_ok=True)
        options = ["-n", "-l", "-D", "-P", "-f", f"{folder}/keepalived.conf"]
        options += ["-p", str(pid_file), "-r", f"{folder}/vrrp.pid"]
        with open(folder / "log", "ab") as log:
            self.started[name] = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace(name), "keepalived", *options],
                env={**os.environ, "TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait(lambda: pid_file.exists() and pid_file.read_text().strip(), self.node)
        return int(pid_file.read_text())

    def vrrp_child(self, name: str = "a") -> int:
        """The pid of the process that does VRRP."""
        return int((self.root / f"ka-{name}" / "vrrp.pid").read_text())

    def kill_all(self, name: str = "a") -> None:
        """kill -9 of parent and child in one breath: nobody is left to say anything."""
        parent, child = self.started[name].pid, self.vrrp_child(name)
        os.kill(parent, signal.SIGSTOP)
        for pid in (child, parent):
            os.kill(pid, signal.SIGKILL)
        self.started[name].wait(5)

    def holds_address(self, name: str) -> bool:
        """Whether the service address is on this side's interface."""
        return ADDRESS in run("ip", "-n", self.namespace(name), "addr", "show", "dev", "eth0")

    def cut(self, state: str, *names: str) -> None:
        """Let these sides hear no VRRP ("-A"), or hear it again ("-D")."""
        for name in names:
            rule = ["INPUT", "-p", "112", "-j", "DROP"]
            run("ip", "netns", "exec", self.namespace(name), "iptables", state, *rule)

    def states(self) -> list[str]:
        """The states that the bus heard, in order."""
        return [word["state"] for word in self.node.bus.words("transition")]

    def until(self, state: str, seconds: float = 20.0) -> None:
        """Until this is the last state that the bus heard."""
        wait(lambda: self.node.bus.taken and self.node.bus.taken[-1]["state"] == state, self.node, seconds)


@contextlib.contextmanager
def election(hook: bool = False, **settings: object) -> Iterator[Election]:
    """Two namespaces and a wire; the publisher is not started yet. All gone afterwards."""
    with contextlib.ExitStack() as clean_up:
        root = Path(tempfile.mkdtemp(prefix="baton-election-", dir="/var/tmp"))
        clean_up.callback(shutil.rmtree, root, ignore_errors=True)
        tag = f"bp{os.getpid()}-{int(time.monotonic() * 1000) % 100000}"
        (root / "node").mkdir()
        node = clean_up.enter_context(stage(root / "node", **settings))
        made = Election(root, node, tag, {}, hook)
        agent = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
        node.others.append(agent)
        node.agent("active", agent.pid)
        clean_up.callback(_unwire, made)
        _wire(made)
        yield made


def _wire(made: Election) -> None:
    first, second = made.namespace("a"), made.namespace("b")
    for name in (first, second):
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", first, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second)
    for number, name in ((1, first), (2, second)):
        run("ip", "-n", name, "addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")


def _unwire(made: Election) -> None:
    made.node.kill()
    for name, process in made.started.items():
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(3)
        with contextlib.suppress(OSError, ValueError):
            os.kill(made.vrrp_child(name), signal.SIGKILL)
    for name in NAMES:
        run("ip", "-n", made.namespace(name), "link", "del", "eth0", check=False)
        run("ip", "netns", "del", made.namespace(name), check=False)
