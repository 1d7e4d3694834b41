"""The scenarios, in the order in which they are played: each leaves the next one's roles."""

from __future__ import annotations

from lab.demo.scenario import Scenario
from lab.demo.scenarios import comeback, crash, double, hang, manual, partition, planned, reboot, stuck

ALL: tuple[Scenario, ...] = (
    partition.INCUMBENT,
    planned.SCENARIO,
    partition.OTHER,
    manual.SCENARIO,
    crash.SCENARIO,
    comeback.SCENARIO,
    hang.SCENARIO,
    reboot.ALONE,
    reboot.WITH_PEER,
    double.SCENARIO,
    stuck.SCENARIO,
)


def named(name: str) -> tuple[Scenario, ...]:
    """The scenarios of this name; several if they are variants of one."""
    return tuple(each for each in ALL if each.name == name or each.name.split("-")[0] == name)
