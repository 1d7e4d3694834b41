"""The deployed orchestrator put together: settings from the environment, clients, ports."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final

from aws_lambda_powertools import Logger

from chalicelib import news, ownership, timing
from chalicelib.announced import text
from chalicelib.aws import Cloud
from chalicelib.aws_observe import Observer
from chalicelib.clients import client
from chalicelib.clusters import BrokenDefinition, Clusters, UnknownCluster
from chalicelib.drive import Driver
from chalicelib.events import Gate, Heard, Rejected
from chalicelib.fences import Fences
from chalicelib.model import Cluster, News, Notice, Record
from chalicelib.ports import Ports, SystemClock
from chalicelib.quiet import is_repetition
from chalicelib.record_items import UnreadableRecord
from chalicelib.store import Store
from chalicelib.telling import Teller, count

MARGIN_SECONDS: Final = 2 * timing.CALL_SECONDS
"""Left of the Lambda's time when driving ends: a last call may still be waiting for its answer."""

logger = Logger(child=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the deployment tells the functions by environment variables."""

    stage: str
    table: str
    idempotency_table: str
    gate: Gate


def settings() -> Settings:
    """The settings. Raises RuntimeError naming the variable that is missing."""
    stage = _variable("BATON_STAGE")
    roles = _variable("BATON_NODE_ROLE_IDS").replace(" ", "").split(",")
    return Settings(
        stage=stage,
        table=_variable("BATON_TABLE"),
        idempotency_table=_variable("BATON_IDEMPOTENCY_TABLE"),
        gate=Gate(stage, _variable("BATON_ACCOUNT"), frozenset(role for role in roles if role)),
    )


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise RuntimeError(f"the environment variable {name} is not set: run `baton deploy` again")
    return value


@dataclass(frozen=True, slots=True)
class Accepted:
    """A word was written down. `changes`: it says something new, so the cluster is to be driven."""

    cluster: Cluster
    changes: bool


class House:
    """What the entry points call. One lives as long as the Lambda's process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.count = partial(count, stage=settings.stage)
        cloud = Cloud(client("ec2"), client("ssm"), settings.stage)
        table = client("dynamodb"), settings.table
        self.store = Store(*table)
        self.clusters = Clusters(client("ssm-parameters"), settings.stage, cloud.members)
        self.teller = Teller(client("events"), settings.stage)
        self.driver = Driver(
            Ports(
                store=self.store,
                cloud=cloud,
                observer=Observer(cloud),
                fences=Fences(*table),
                teller=self.teller,
                clock=self.clock,
                count=self.count,
            )
        )

    def accept(self, heard: Heard) -> Accepted | Rejected:
        """Write down a word that counts; or why it does not count."""
        word = heard.word
        try:
            cluster = self.clusters.get(heard.cluster)
        except UnknownCluster as error:
            return Rejected("cluster", str(error))
        except BrokenDefinition as error:
            return Rejected("definition", str(error))
        if word.node not in cluster.nodes:
            return Rejected("member", f"{word.node} is no node of cluster {cluster.name}")
        try:
            record = self.store.load(cluster.name)
        except UnreadableRecord as error:
            return Rejected("record", str(error))
        last = next((known for known in record.words if known.node == word.node), None)
        verdict = ownership.accept(last, word, self.clock.now())
        if isinstance(verdict, ownership.Ignored):
            return Rejected("old", f"{word.node}: {verdict.reason}")
        if verdict.ahead:
            text = "a node's clock is far ahead; its word is accepted, mend the clock"
            logger.warning(text, cluster=cluster.name, node=word.node, sequence=word.sequence)
            self.count("ClockAhead")
        if not self.store.accept(cluster.name, word):
            return Rejected("old", f"{word.node}: a newer word came in at the same moment")
        return Accepted(cluster, changes=not is_repetition(record, last, word))

    def reject(self, rejected: Rejected) -> None:
        """One structured warning and one metric; nothing else changes."""
        logger.warning("a word was refused", reason=rejected.reason, text=rejected.text)
        self.count("OldWord" if rejected.reason == "old" else "RefusedWord")

    def drive(self, clusters: Iterable[Cluster], seconds: float) -> list[Record]:
        """Drive these clusters for at most this long; their records as they are then."""
        return self.driver.drive(clusters, self.clock.now() + seconds)

    def sweep(self, seconds: float) -> None:
        """Drive every sound cluster, and say again what is not well, so that its alarm lasts as long."""
        self.count("Sweep")
        for record in self.drive(self.sound(), seconds):
            for one in news.standing(record):
                self.count(one)

    def wake(self, nodes: frozenset[str], announced: Iterable[Notice] = ()) -> list[Cluster]:
        """The clusters of these nodes, after telling whoever drives them to look again."""
        found = [cluster for cluster in self.sound() if nodes & set(cluster.nodes)]
        for cluster in found:
            self._keep(cluster, [notice for notice in announced if notice.node in cluster.nodes])
            self.store.nudge(cluster.name)
        return found

    def _keep(self, cluster: Cluster, announced: list[Notice]) -> None:
        """Write down what AWS announces of this cluster's nodes, and tell people."""
        if not announced:
            return
        try:
            record = self.store.load(cluster.name)
        except UnreadableRecord as error:
            logger.error("what AWS announces cannot be kept", cluster=cluster.name, text=str(error))
            return
        for notice in announced:
            word = record.word(notice.node)
            if self.store.notice(cluster.name, replace(notice, boot=word.boot if word else "")):
                kind = "called-off" if notice.over else "warned"
                self.teller.tell(record, (News(kind, text(notice), notice.node),))

    def sound(self) -> list[Cluster]:
        """Every cluster whose definition is sound; the others are complained about."""
        clusters: list[Cluster] = []
        for name, cluster in self.clusters.all().items():
            if isinstance(cluster, Cluster):
                clusters.append(cluster)
            else:
                logger.error("a cluster is left alone", cluster=name, text=str(cluster))
                self.count("BrokenDefinition")
        return clusters


@cache
def house() -> House:
    """The process's house, built at the first event: deploying imports the app without AWS."""
    return House(settings())


def driving_seconds(remaining_milliseconds: int) -> float:
    """How long to drive in an invocation that has so much left."""
    return min(timing.DRIVE_SECONDS, remaining_milliseconds / 1000 - MARGIN_SECONDS)
