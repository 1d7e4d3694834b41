"""The faults of a chaos run: each brings itself about, ends, and proves that it occurred.

A fault of a control plane (throttling, lost events, slow agents) is invisible while nothing moves, so
it is put on a hand-over: `stir` begins one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from lab.cloud import Call
from lab.demo.lab import Lab
from lab.demo.scenarios.hang import frozen
from lab.demo.scenarios.partition import cut, heal
from lab.demo.trouble import NoFault

Fault: TypeAlias = Callable[[Lab, Random], str]

ELECTION_SECONDS = 30.0
SLOW_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `fences`: it may end in a Stop, of which the fleet allows few in ten minutes."""

    name: str
    bring_about: Fault
    fences: bool = False


def stir(lab: Lab) -> str:
    """Begin a hand-over: stop keepalived on the owner. The operator starts it afterwards."""
    owner = lab.owner
    lab.host(owner).keepalived_stop()
    return owner


def anyone(lab: Lab, rng: Random) -> str:
    """The owner half of the time, else another node."""
    return lab.owner if rng.random() < 0.5 else rng.choice(lab.others(lab.owner))


def partition(lab: Lab, rng: Random) -> str:
    """VRRP of the owner is cut for some seconds."""
    owner = lab.owner
    cut(lab, owner)
    try:
        lab.wait("two nodes are MASTER", lambda: len(lab.masters()) > 1, ELECTION_SECONDS)
        time.sleep(rng.uniform(0.5, 6.0))
    finally:
        heal(lab, owner)
    return f"{owner} and another were MASTER at once"


def one_way(lab: Lab, rng: Random) -> str:
    """One backup hears nothing of the owner any more, which hears all."""
    owner = lab.owner
    deaf = rng.choice(lab.others(owner))
    lab.host(deaf).drop_vrrp()
    try:
        lab.wait(f"{deaf} is MASTER too", lambda: deaf in lab.masters(), ELECTION_SECONDS)
        time.sleep(rng.uniform(0.5, 4.0))
    finally:
        lab.host(deaf).hear_vrrp()
    return f"{deaf} was deaf, and MASTER beside {owner}"


def link(lab: Lab, rng: Random) -> str:
    """The owner loses its link: VRRP, clients and AWS at once."""
    owner = lab.owner
    host = lab.host(owner)
    host.cut()
    try:
        lab.wait("another node is MASTER", lambda: set(lab.masters()) - {owner}, ELECTION_SECONDS)
        time.sleep(rng.uniform(1.0, 8.0))
    finally:
        if host.up:
            host.heal()
    return f"{owner} was cut off, and another became MASTER"


def kill_keepalived(lab: Lab, rng: Random) -> str:
    """All of keepalived is killed: it says nothing, and the address stays on the interface."""
    name = anyone(lab, rng)
    lab.host(name).keepalived_kill()
    lab.wait(f"no keepalived runs on {name}", lambda: not runs(lab, name, "keepalived"), 10)
    time.sleep(rng.uniform(1.0, 3.0))
    return f"keepalived was gone on {name}"


def kill_host(lab: Lab, rng: Random) -> str:
    """A host loses power, and EC2 says so."""
    name = anyone(lab, rng)
    lab.cloud.crash(lab.nodes[name])
    return lab.prove(f"{name} lost power", lab.record.is_off(name) and not lab.host(name).processes())


def freeze(lab: Lab, rng: Random) -> str:
    """A host freezes, for a moment or for good."""
    name = anyone(lab, rng)
    lab.host(name).freeze()
    proof = lab.prove(f"all processes of {name} were stopped", frozen(lab, name))
    time.sleep(rng.choice((1.0, 3.0, 9.0, 15.0)))
    lab.host(name).thaw()
    return proof


def reboot(lab: Lab, rng: Random) -> str:
    """A host reboots in order."""
    name = anyone(lab, rng)
    before = lab.host(name).boot_id
    lab.cloud.client("ec2").reboot_instances(InstanceIds=[lab.nodes[name]])
    lab.wait(f"{name} has another boot id", lambda: lab.host(name).boot_id != before, 60)
    return f"{name} rebooted"


def throttling(lab: Lab, rng: Random) -> str:
    """AWS throttles the first calls of a hand-over."""
    since = time.time()
    lab.cloud.faults.throttle("*", times=rng.randint(3, 12), where=is_of_baton)
    stir(lab)
    lab.wait("a call is throttled", lambda: refused(lab, since), ELECTION_SECONDS)
    return "calls of the functions were throttled"


def errors(lab: Lab, rng: Random) -> str:
    """EC2 answers Unavailable, and does what was asked all the same."""
    since = time.time()
    operation = rng.choice(("AttachVolume", "DetachVolume", "AssignPrivateIpAddresses"))
    lab.cloud.faults.fail(operation, "Unavailable", times=2, applied=True)
    stir(lab)
    lab.wait(f"{operation} fails", lambda: refused(lab, since), ELECTION_SECONDS)
    return f"{operation} answered Unavailable and happened"


def event_loss(lab: Lab, rng: Random) -> str:
    """The first words of a hand-over are lost; some of the next ones are doubled or late."""
    count = rng.randint(1, 4)
    lab.cloud.bus.lose(count, where=is_word)
    lab.cloud.bus.duplicate(2, where=is_word)
    lab.cloud.bus.delay(rng.uniform(0.5, 3.0), 2, where=is_word)
    before = fates(lab)
    stir(lab)
    lab.wait("a word is lost", lambda: fates(lab) > before, ELECTION_SECONDS)
    return f"up to {count} words were lost"


def slow_agent(lab: Lab, rng: Random) -> str:
    """Commands reach the agents late, and one agent runs its next command twice."""
    for name in lab.nodes:
        lab.host(name).mailbox.late_seconds = rng.uniform(0.5, SLOW_SECONDS)
    lab.host(rng.choice(list(lab.nodes))).mailbox.twice = 1
    begin = time.monotonic()
    owner = stir(lab)
    try:
        lab.wait(f"{owner} has released", lambda: not lab.mounted(owner), ELECTION_SECONDS)
    finally:
        for name in lab.nodes:
            lab.host(name).mailbox.late_seconds = 0.0
    return f"commands were up to {SLOW_SECONDS:g} s late; released after {time.monotonic() - begin:.1f} s"


def dead_agent(lab: Lab, rng: Random) -> str:
    """A backup's agent dies during a hand-over; in the other half of the cases, it hangs."""
    owner = lab.owner
    victim = rng.choice(lab.others(owner))
    host = lab.host(victim)
    if rng.random() < 0.5:
        host.agent_down()
        lab.wait(f"no agent runs on {victim}", lambda: not runs(lab, victim, "amazon-ssm-agen"), 10)
    else:
        host.agent_hang()
    stir(lab)
    time.sleep(rng.uniform(3.0, 8.0))
    return f"{victim}'s agent was dead"


def runs(lab: Lab, node: str, program: str) -> bool:
    """Whether a node runs a program, by /proc."""
    return any(process.name == program for process in lab.host(node).processes())


def refused(lab: Lab, since: float) -> bool:
    """Whether a call of a function failed since."""
    return any(call.error for call in lab.cloud.calls.of(kind="function") if call.at >= since)


def is_of_baton(call: Call) -> bool:
    """Whether a function calls."""
    return call.principal.kind == "function"


def is_word(event: dict[str, object]) -> bool:
    """Whether an event is a node's word."""
    return event["detail-type"] == "Baton Word"


def fates(lab: Lab) -> int:
    """How many events were lost so far."""
    return sum(fate == "lost" for _, fate in list(lab.cloud.bus.history))


KINDS: Final = (
    Kind("partition", partition),
    Kind("one-way partition", one_way),
    Kind("link cut", link, fences=True),
    Kind("keepalived killed", kill_keepalived),
    Kind("host lost", kill_host),
    Kind("freeze", freeze, fences=True),
    Kind("reboot", reboot),
    Kind("throttling", throttling),
    Kind("errors that happened", errors),
    Kind("event loss", event_loss),
    Kind("slow agents", slow_agent),
    Kind("dead agent", dead_agent, fences=True),
)

__all__ = ["KINDS", "Fault", "Kind", "NoFault"]
