"""Between two scenarios the operator mends everything: scenarios do not depend on each other."""

from __future__ import annotations

from lab.demo.lab import Lab

WELL_SECONDS = 60.0
REST = ("running", "stopped")
"""States of an instance that stay; the others end by themselves."""


def restore(lab: Lab) -> None:
    """Heal every fault, start what is stopped, and wait until all is settled. Raises FAILURES."""
    lab.cloud.faults.clear()
    lab.cloud.bus.clear()
    for name in lab.nodes:
        restore_node(lab, name)
    all_well = lambda: all(is_well(lab, name) for name in lab.nodes)  # noqa: E731
    lab.wait("all nodes are well", all_well, WELL_SECONDS, poll=0.1)
    lab.await_settled(WELL_SECONDS)


def restore_node(lab: Lab, name: str) -> None:
    """One node: power, link, freezer, agent, keepalived."""
    host, instance = lab.host(name), lab.nodes[name]
    lab.wait(f"EC2 has {name} running or stopped", lambda: lab.cloud.state(instance) in REST, 30)
    if lab.cloud.state(instance) == "stopped":
        lab.start_instance(name)
        lab.await_power(name, "running")
    if not host.up:
        host.boot()
    host.thaw()
    host.heal()
    host.run(["iptables", "-w", "5", "-F", "INPUT"])
    host.agent_up()
    host.keepalived_start()


def is_well(lab: Lab, name: str) -> bool:
    """Whether EC2, its kernel and its service manager say that a node runs, with all it needs."""
    host = lab.host(name)
    if lab.cloud.state(lab.nodes[name]) != "running" or not host.up:
        return False
    running = {process.name for process in host.processes() if process.state != "T"}
    return {"keepalived", "amazon-ssm-agent"[:15]} <= running and host.mailbox.connected
