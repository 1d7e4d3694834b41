"""The simulator's AWS: the functions that the explorer calls, on a world at rest."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.model import Action, Cluster, Observation, Record, Word
from tests.contract.ports import Told
from tests.simulation import physics, store
from tests.simulation.drivers import _perform as perform
from tests.simulation.instant import _ec2 as endings
from tests.simulation.moves import begin
from tests.simulation.scope import Scope
from tests.simulation.world import World


class Simulated:
    """Implements `Aws`."""

    def __init__(self) -> None:
        self._scope = Scope("contract", "", volumes=("v", "w"), adopted=False)
        world = begin(self._scope)
        record = replace(world.record, words=(), words_version=0)
        self._world: World = world.with_(record=record)
        self.cluster: Cluster = self._scope.cluster

    @property
    def now(self) -> float:
        return self._world.now

    def interface(self, node: str) -> str:
        return f"eni-{node}"

    def boot(self, node: str) -> str:
        return self._world.host(node).boot_id

    def do(self, action: Action, fate: str = "") -> tuple[Told, str | None]:
        # The policy is the cluster's, which a test may have changed.
        settings = (("fence", self.cluster.fence),)
        scope = replace(self._scope, settings=settings)
        self._world, done = perform(scope, self._world, action, fate)
        return Told(done.outcome, done.code), done.id

    def see(self, record: Record | None = None) -> Observation:
        world = self._world if record is None else self._world.with_(record=record)
        return physics.observe(world, self.cluster)

    def settle(self) -> None:
        while (step := next(endings(self._world), None)) is not None:
            self._world = step.world

    def mount(self, node: str) -> None:
        self._world = self._world.with_host(replace(self._world.host(node), mounted=True))

    def unmount(self, node: str) -> None:
        self._world = self._world.with_host(replace(self._world.host(node), mounted=False))

    def run_commands(self) -> None:
        for mail in self._world.cloud.mail:
            if self._world.host(mail.command.node).runs:
                self._world = physics.deliver(self._world, mail)

    def lose_commands(self) -> None:
        self._world = self._world.with_(cloud=replace(self._world.cloud, mail=()))

    def wait(self, seconds: float) -> None:
        self._world = self._world.with_(now=self._world.now + seconds)

    def load(self) -> Record:
        return self._world.record

    def accept(self, word: Word) -> bool:
        before, self._world = self._world, store.accept(self._world, word)
        return self._world is not before

    def take(self, holder: str) -> Record | None:
        self._world, taken = store.take(self._world, self._world.record, holder)
        return taken

    def persist(self, record: Record) -> Record | None:
        assert record.lease is not None
        self._world, kept = store.persist(self._world, record, record.lease.holder)
        return kept

    def give_up(self, record: Record) -> bool:
        assert record.lease is not None
        self._world, given = store.give_up(self._world, record, record.lease.holder)
        return given
