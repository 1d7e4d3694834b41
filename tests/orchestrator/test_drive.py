"""The driver: many clusters at once, several drivers, leases that end, trouble that stays put."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from chalicelib import timing
from chalicelib.aws import Cloud as Ec2AndSsm
from chalicelib.aws_observe import Observer
from chalicelib.drive import LEASE_TOO_SHORT, Driver
from chalicelib.events import word_of
from chalicelib.fences import Fences
from chalicelib.items import key, to_item
from chalicelib.model import Attach, Cluster, Fence, Lease, Outcome, Record
from chalicelib.ports import Ports
from chalicelib.steps import FENCE_BUDGET
from chalicelib.store import Store
from chalicelib.telling import Teller
from lab.cloud import Cloud
from lab.cloud.building import Net
from tests.orchestrator.nodes import Host, Hosts
from tests.orchestrator.orders import MUTATIONS


@dataclass
class Watch:
    """A clock that may run ahead, and that does something when somebody looks at it, or sleeps."""

    ahead: float = 0.0
    on_look: Callable[[], None] = lambda: None
    on_sleep: Callable[[], None] = lambda: None

    def now(self) -> float:
        """This moment."""
        self.on_look()
        return time.time() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)
        self.on_sleep()


@dataclass
class Fleet:
    """Clusters of two nodes each, and drivers for them."""

    cloud: Cloud
    store: Store
    table: str
    hosts: Hosts
    clusters: list[Cluster] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)

    def driver(self, watch: Watch | None = None) -> Driver:
        """A driver of its own, as another Lambda process has it."""
        cloud = Ec2AndSsm(self.cloud.client("ec2"), self.cloud.client("ssm"), "unit")
        dynamodb = self.cloud.client("dynamodb")
        return Driver(
            Ports(
                store=Store(dynamodb, self.table),
                cloud=cloud,
                observer=Observer(cloud),
                fences=Fences(dynamodb, self.table),
                teller=Teller(self.cloud.client("events"), "unit"),
                clock=watch or Watch(),
                count=self.counted.append,
            )
        )

    def drive(self, watch: Watch | None = None, seconds: float = 30.0) -> None:
        """One driver for all clusters."""
        self.driver(watch).drive(self.clusters, (watch or Watch()).now() + seconds)

    def say(self, host: Host) -> None:
        """A node's word is accepted."""
        assert self.store.accept(host.cluster, word_of(host.word(), host.id))

    def masters(self) -> None:
        """The first node of each cluster becomes master, and all say what they are."""
        for cluster in self.clusters:
            first, second = (self.hosts.hosts[node] for node in cluster.nodes)
            first.state = "MASTER"
            self.say(second)
            self.say(first)

    def served(self) -> list[str]:
        """The clusters of which the first node, and it alone, holds everything."""
        return [
            cluster.name
            for cluster in self.clusters
            if self.cloud.holder(cluster.addresses[0]) == cluster.nodes[0]
            and (self.cloud.attachment(cluster.volumes[0]) or ("",))[0] == cluster.nodes[0]
            and self.hosts.hosts[cluster.nodes[0]].mounted == set(cluster.volumes)
            and not self.hosts.hosts[cluster.nodes[1]].mounted
        ]

    def calls(self, *operations: str) -> int:
        """How often AWS was asked for these."""
        return sum(call.operation.startswith(operations) for call in self.cloud.calls)


@pytest.fixture
def make_fleet(cloud: Cloud, net: Net, store: Store, table: str) -> Iterator[Callable[[int], Fleet]]:
    """A maker of fleets."""
    made: list[str] = []

    def make(size: int) -> Fleet:
        fleet = Fleet(cloud, store, table, Hosts())
        cloud.use(fleet.hosts)
        for number in range(size):
            name = f"cluster-{number}"
            nodes = [cloud.launch(net, wait=False).id for _ in range(2)]
            made.extend(nodes)
            for node in nodes:
                fleet.hosts.add(Host(node, cluster=name))
            address = f"10.9.1.{number + 10}"
            fleet.clusters.append(Cluster(name, tuple(nodes), (cloud.volume(),), (address,)))
        cloud.until(lambda: all(cloud.state(node) == "running" for node in made))
        return fleet

    yield make
    cloud.client("ec2").terminate_instances(InstanceIds=made)
    cloud.until(lambda: all(cloud.state(node) == "terminated" for node in made))


def test_one_driver_moves_many_clusters_and_looks_at_all_of_them_at_once(
    make_fleet: Callable[[int], Fleet],
) -> None:
    """All are served, and the first look shows the volumes of all of them."""
    fleet = make_fleet(3)
    fleet.masters()
    before = fleet.calls("DescribeVolumes")
    fleet.drive()
    assert fleet.served() == [cluster.name for cluster in fleet.clusters]
    look = fleet.cloud.calls.of("DescribeVolumes")[before]
    assert set(look.parameters["VolumeIds"]) == {c.volumes[0] for c in fleet.clusters}
    assert not any(fleet.store.load(c.name).lease for c in fleet.clusters)
    assert fleet.hosts.double == []


def test_of_two_drivers_one_drives_and_nothing_is_done_twice(
    make_fleet: Callable[[int], Fleet],
) -> None:
    """Both are woken by words of the same moment; there is one epoch and one Attach."""
    fleet = make_fleet(1)
    fleet.masters()
    attached = fleet.calls("AttachVolume")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: fleet.drive(), range(2)))
    assert fleet.served()
    assert fleet.calls("AttachVolume") - attached == 1
    assert fleet.store.load("cluster-0").epoch == 1


def test_a_driver_that_was_suspended_past_its_lease_does_nothing_any_more(
    make_fleet: Callable[[int], Fleet],
) -> None:
    """With its intents stored it is suspended, and another takes over and settles; thawed, it
    leaves all as it is."""
    fleet = make_fleet(1)
    fleet.masters()
    slow = Watch()
    settled: list[tuple[Record, int]] = []

    def suspend() -> None:
        if not slow.ahead and fleet.store.load("cluster-0").intents:
            slow.ahead = timing.LEASE_SECONDS + 1
            fleet.drive(Watch(slow.ahead))
            settled.append((fleet.store.load("cluster-0"), fleet.calls(*MUTATIONS)))

    slow.on_look = suspend
    fleet.drive(slow, seconds=90)
    ((record, mutations),) = settled
    assert record.settled
    assert fleet.store.load("cluster-0") == record
    assert fleet.calls(*MUTATIONS) == mutations
    assert fleet.served()


def test_what_could_not_end_within_the_lease_is_not_sent(
    make_fleet: Callable[[int], Fleet],
) -> None:
    """The clock is looked at last, right before the call."""
    fleet = make_fleet(1)
    (cluster,) = fleet.clusters
    attach = Attach(cluster.volumes[0], cluster.nodes[0], "/dev/sdf")
    almost = Record(cluster.name, lease=Lease("me", time.time() + timing.CALL_SECONDS))
    calls = fleet.calls("AttachVolume")
    done = fleet.driver().perform(cluster, attach, almost)
    assert (done.outcome, done.code) == (Outcome.NOT_YET, LEASE_TOO_SHORT)
    assert fleet.driver().perform(cluster, attach, Record(cluster.name)).code == LEASE_TOO_SHORT
    assert fleet.calls("AttachVolume") == calls
    enough = replace(almost, lease=Lease("me", time.time() + timing.LEASE_SECONDS))
    assert fleet.driver().perform(cluster, attach, enough).outcome is Outcome.DONE


def test_the_fleet_stops_only_so_many_nodes_in_a_window(
    make_fleet: Callable[[int], Fleet],
) -> None:
    """The budget is one for all drivers; a node that was paid for is not paid for again."""
    fleet = make_fleet(1)
    (cluster,) = fleet.clusters
    now = time.time()
    record = Record(cluster.name, lease=Lease("me", now + timing.LEASE_SECONDS))
    budget = Fences(fleet.store.client, fleet.table)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: budget.spend(f"i-{n}", now), range(8)))
    assert sum(got) <= timing.FENCES_MOST
    spent = [budget.spend(f"i-{n}", now) for n in range(8)]
    assert sum(spent) == timing.FENCES_MOST
    assert budget.spend(f"i-{spent.index(True)}", now + 1)
    fence = Fence(cluster.nodes[0])
    done = fleet.driver().perform(cluster, fence, record)
    assert (done.outcome, done.code) == (Outcome.NOT_YET, FENCE_BUDGET)
    assert fleet.cloud.state(cluster.nodes[0]) == "running"
    assert budget.spend("i-new", now + timing.FENCE_WINDOW_SECONDS + 1)


def test_the_trouble_of_one_cluster_is_its_own(make_fleet: Callable[[int], Fleet]) -> None:
    """An unreadable record is counted and left alone; the other cluster is served."""
    fleet = make_fleet(2)
    fleet.masters()
    broken = key("cluster-0", "RECORD") | to_item({"schema": 9, "version": 1, "body": "?"})
    fleet.store.client.put_item(TableName=fleet.table, Item=broken)
    fleet.drive()
    assert fleet.served() == ["cluster-1"]
    assert fleet.counted == ["DriveFailed"]


@pytest.mark.slow
def test_a_word_that_comes_while_the_driver_rests_is_decided_at_once(
    make_fleet: Callable[[int], Fleet],
) -> None:
    """The owner is silent for long; its word must not wait for the end of that rest."""
    fleet = make_fleet(1)
    (cluster,) = fleet.clusters
    fleet.masters()
    fleet.drive()
    owner, other = (fleet.hosts.hosts[node] for node in cluster.nodes)
    owner.agent = False
    fleet.say(owner)
    other.state = "MASTER"
    fleet.say(other)
    watch = Watch()
    began = time.time()

    def give_way() -> None:
        if owner.state == "MASTER" and time.time() - began > 1.5:
            owner.state, owner.agent = "BACKUP", True
            fleet.say(owner)

    watch.on_sleep = give_way
    fleet.drive(watch, seconds=90)
    assert fleet.store.load(cluster.name).owner == other.id
    assert fleet.hosts.power == []


def test_news_is_published_under_a_source_that_cannot_wake_baton(
    make_fleet: Callable[[int], Fleet],
) -> None:
    """Granted and settled are told, with cluster and epoch."""
    fleet = make_fleet(1)
    fleet.masters()
    told = len(list(fleet.cloud.calls.of("PutEvents")))
    fleet.drive()
    entries = [
        entry
        for call in list(fleet.cloud.calls.of("PutEvents"))[told:]
        for entry in call.parameters["Entries"]
    ]
    kinds = [json.loads(entry["Detail"])["kind"] for entry in entries]
    assert kinds[0] == "granted"
    assert "settled" in kinds
    assert {entry["Source"] for entry in entries} == {"baton.unit"}
