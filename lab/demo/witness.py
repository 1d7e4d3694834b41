"""Watches from the outside: the kernel through the sampler, EC2's records, what SSM delivers.

The witness stands between the cloud and the hosts, where EC2 and SSM act on machines, and passes
everything on. What it writes down is evidence (evidence.py); nobody asks Baton.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.cloud import Cloud, Delivery
from lab.demo import evidence as seen
from lab.demo.evidence import Ec2, Evidence, Look
from lab.hosts import bounded
from lab.hosts.hosts import Hosts

SAMPLER = Path(__file__).parent / "inside" / "sampler.py"
PERIOD_SECONDS = 0.02
KEPT = 200_000
"""Looks and records that are kept: hours of them."""


class Passage:
    """The machinery as the cloud sees it: the hosts, with the witness looking on."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.deliveries: deque[seen.Delivery] = deque(maxlen=KEPT)

    def attach(self, instance: str, volume: str, device: str) -> None:
        """Passed on."""
        self._hosts.attach(instance, volume, device)

    def detach(self, instance: str, volume: str, force: bool) -> bool:
        """Passed on."""
        return self._hosts.detach(instance, volume, force)

    def stop(self, instance: str, force: bool, skip_os_shutdown: bool) -> None:
        """Passed on."""
        self._hosts.stop(instance, force, skip_os_shutdown)

    def start(self, instance: str) -> None:
        """Passed on."""
        self._hosts.start(instance)

    def moved(self, address: str, interface: str | None, instance: str | None) -> None:
        """Passed on."""
        self._hosts.moved(address, interface, instance)

    def deliver(self, instance: str, delivery: Delivery) -> None:
        """Passed on, and noted if it is a command with an epoch."""
        self._hosts.deliver(instance, delivery)
        verb = delivery.parameters.get("action", [""])[0]
        epoch = delivery.parameters.get("epoch", [""])[0]
        if epoch.isdigit():
            node = self._hosts[instance].name
            self.deliveries.append(seen.Delivery(time.monotonic(), node, verb, int(epoch)))


class Witness:
    """Collects evidence from `start` to `stop`. Times are those of the monotonic clock."""

    def __init__(self, cloud: Cloud, hosts: Hosts, passage: Passage) -> None:
        self._cloud = cloud
        self._hosts = hosts
        self._passage = passage
        self._looks: list[Look] = []
        self._records: list[Ec2] = []
        self._names: Mapping[str, str] = {}
        self._volumes: tuple[str, ...] = ()
        self._address = ""
        self._log = hosts.directory / "looks.jsonl"
        self._stopped = threading.Event()
        self._sampler: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []

    def start(self, names: Mapping[str, str], volumes: Sequence[str], address: str) -> None:
        """Begin to look. `names`: instance ids and the nodes' short names."""
        self._names, self._volumes, self._address = names, tuple(volumes), address
        self._log.touch()
        with (self._hosts.directory / "sampler.log").open("ab") as errors:
            self._sampler = bounded.start(
                [
                    sys.executable,
                    "-IS",
                    str(SAMPLER),
                    str(self._hosts.directory / "hosts"),
                    str(self._log),
                    str(PERIOD_SECONDS),
                ],
                err=errors,
                env={"BATON_LAB": str(self._hosts.directory), "PATH": os.environ.get("PATH", "")},
            )
        for job in (self._read_looks, self._read_records):
            thread = threading.Thread(target=job, name=job.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._sampler is not None:
            bounded.end(self._sampler)
        for thread in self._threads:
            thread.join(1.0)

    @property
    def look(self) -> Look:
        """The newest look."""
        return self._looks[-1] if self._looks else Look(0.0)

    @property
    def record(self) -> Ec2:
        """EC2's records now."""
        return self._read_record()

    def records(self, since: float) -> list[Ec2]:
        """What EC2's records were since a moment, each change of them."""
        return [record for record in list(self._records) if record.at >= since]

    def evidence(self, since: float, until: float) -> Evidence:
        """What kernel, EC2 and SSM showed in a time; the state at its beginning comes first."""
        looks = [look for look in list(self._looks) if look.at <= until]
        records = [record for record in list(self._records) if record.at <= until]
        first_look = sum(look.at <= since for look in looks)
        first_record = sum(record.at <= since for record in records)
        return Evidence(
            volumes=self._volumes,
            address=self._address,
            looks=tuple(looks[max(0, first_look - 1) :]),
            records=tuple(records[max(0, first_record - 1) :]),
            deliveries=tuple(self._passage.deliveries),
        )

    def _read_looks(self) -> None:
        with self._log.open(encoding="ascii") as file:
            rest = ""
            while not self._stopped.wait(0.01):
                while line := file.readline():
                    rest += line
                    if rest.endswith("\n"):
                        self._looks.append(seen.look_from(rest))
                        rest = ""

    def _read_records(self) -> None:
        while not self._stopped.wait(PERIOD_SECONDS):
            record = self._read_record()
            last = self._records[-1] if self._records else None
            if last is None or not _same(last, record):
                self._records.append(record)

    def _read_record(self) -> Ec2:
        attached: dict[str, tuple[str, str] | None] = {}
        for volume in self._volumes:
            found = self._cloud.attachment(volume)
            attached[volume] = (self._name(found[0]) or found[0], found[2]) if found else None
        return Ec2(
            time.monotonic(),
            {name: self._cloud.state(instance) for instance, name in self._names.items()},
            attached,
            {self._address: self._name(self._cloud.holder(self._address))},
        )

    def _name(self, instance: str | None) -> str | None:
        return self._names.get(instance, instance) if instance else None


def _same(one: Ec2, other: Ec2) -> bool:
    return (one.power, one.attached, one.holder) == (other.power, other.attached, other.holder)
