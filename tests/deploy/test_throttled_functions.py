"""Many clusters' words at once, through EventBridge and Lambda as they are deployed.

Lambda runs only so many environments of a function: a new account's quota is ten for all of them.
A hand-over keeps one busy for its time, so words wait in Lambda's queue, and what is too old is
dropped: the sweep, which drives many clusters in one environment, makes up for it.
"""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.store import Store
from infra.account import connect
from infra.names import Names
from lab.cloud import Cloud, Latencies
from lab.cloud.building import Net
from tests.deploy.deployed import STAGE, deploy, environment
from tests.orchestrator.nodes import Host, Hosts
from tests.orchestrator.storm import One

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.filterwarnings("ignore:Tried to parse AWS"),
    pytest.mark.timeout(290),
]

CLUSTERS = 12
ENVIRONMENTS = 3
"""Of each function; a quarter of what the storm asks for at once."""
SWEEP_SECONDS = 6.0
SETTLE_SECONDS = 100.0


class Fleet:
    """The deployed stage with its clusters."""

    def __init__(self, cloud: Cloud, hosts: Hosts) -> None:
        self.cloud, self.hosts = cloud, hosts
        self.store = Store(cloud.client("dynamodb"), Names(STAGE).table)
        net = cloud.network("10.9.0.0/16", "10.9.0.0/24")
        self.clusters = [self._make(net, f"storm-{n}", f"10.9.0.{100 + n}") for n in range(CLUSTERS)]

    def _make(self, net: Net, name: str, address: str) -> One:
        tags = {"baton:stage": STAGE, "baton:cluster": name}
        nodes = [self.cloud.launch(net, profile=Names(STAGE).node_role, tags=tags) for _ in range(2)]
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.cloud.client("ec2").create_tags(Resources=[node.interface for node in nodes], Tags=pairs)
        a, b = (self.hosts.add(Host(node.id, cluster=name)) for node in nodes)
        b.priority = 253
        one = One(name, a, b, self.cloud.volume(tags=tags), address)
        text = json.dumps(one.document())
        self.cloud.client("ssm").put_parameter(Name=Names(STAGE).definition(name), Value=text, Type="String")
        return one

    def say(self, host: Host, state: str) -> None:
        """A node publishes its word, with its own credentials."""
        host.state = state
        entry = {
            "Source": self.cloud.source(host.id, STAGE),
            "DetailType": "Baton Word",
            "Detail": json.dumps(host.word()),
        }
        client = self.cloud.client("events", self.cloud.credentials(host.id))
        assert client.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def all_say(self, hosts: list[Host], state: str) -> None:
        """In the same moment."""
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(lambda host: self.say(host, state), hosts))

    def until_served(self, which: str) -> None:
        """All clusters are served by this one of their nodes."""
        left = {one.name: one for one in self.clusters}

        def holds() -> bool:
            for one in [*left.values()]:
                if one.is_served_by(getattr(one, which), self.cloud, self.store.load(one.name)):
                    del left[one.name]
            return not left

        try:
            self.cloud.until(holds, SETTLE_SECONDS)
        except TimeoutError as late:
            raise AssertionError(f"{len(left)} are not served: {self.store.load(min(left))}") from late


def test_a_storm_of_words_settles_although_lambda_runs_only_a_few_of_them(tmp_path: Path) -> None:
    """All first masters at once, then all owners dead in one second: each cluster is served by its own
    node in the end, and no volume was ever mounted twice."""
    hosts = Hosts()
    latencies = dataclasses.replace(Latencies.fast(), minute=SWEEP_SECONDS)
    started = Cloud.start(latencies=latencies, machinery=hosts, concurrency=ENVIRONMENTS)
    with started as cloud, environment(cloud):
        deploy(connect(), tmp_path)
        fleet = Fleet(cloud, hosts)
        fleet.all_say([one.b for one in fleet.clusters], "BACKUP")
        fleet.all_say([one.a for one in fleet.clusters], "MASTER")
        fleet.until_served("a")
        for one in fleet.clusters:
            cloud.crash(one.a.id)
        fleet.all_say([one.b for one in fleet.clusters], "MASTER")
        fleet.until_served("b")
        assert hosts.double == []
        assert cloud.calls.of("StopInstances") == []
        assert cloud.functions.throttled[Names(STAGE).function("on_word")] > 0
