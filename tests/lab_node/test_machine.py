"""hypothesis drives release and acquire against the real kernel and compares with the pure duties."""

from __future__ import annotations

import contextlib
import time
import uuid

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node_hook import duty
from tests.lab_node import rig
from tests.lab_node.test_killed import killed_at
from tests.lab_node.test_release import free

EPOCHS = st.integers(-1, 2)
STEPS = st.integers(0, 8)
WAYS = ("cd {m}; {r}", "exec 9>{m}/file; {r}", "exec unshare -m --propagation private sh -c '{r}'")
"""To hold the volume."""


class Machine(RuleBasedStateMachine):
    """What the kernel shows is what the pure memory says, whatever order the commands came in."""

    @initialize()
    def boot(self) -> None:
        self.stack = contextlib.ExitStack()
        self.node = self.stack.enter_context(rig.node())
        self.disk = self.node.disk()
        self.disks = 1
        self.alive = True
        """Whether what is mounted, if anything is, has its device still."""
        self.memory = duty.Memory()
        self.boot_id = rig.BOOT

    def teardown(self) -> None:
        self.stack.close()

    def judged(self, order: duty.Order) -> duty.Refusal | None:
        verdict = duty.judge(order, self.memory, boot=self.boot_id, now=time.time(), master=False)
        if isinstance(verdict, duty.Refusal):
            return verdict
        self.memory = verdict.memory
        return None

    @rule(up=EPOCHS)
    def release(self, up: int) -> None:
        epoch = max(0, self.memory.highest + up)
        order = duty.Order("release", epoch, deadline=time.time() + 5)
        refusal = self.judged(order)
        ran = self.node.release(epoch, seconds=5)
        if refusal:
            assert ran.gist == (refusal.result, refusal.code)
        else:
            assert ran.gist == ("released", ""), ran.answer["text"]
            self.memory = duty.after_release(order, self.memory)
            self.alive = True
            assert free(self.node, self.disk.loop), "the kernel still uses the device"

    @rule(up=EPOCHS, this_boot=st.sampled_from([True, True, True, False]))
    def acquire(self, up: int, this_boot: bool) -> None:
        epoch = max(0, self.memory.highest + up)
        boot = self.boot_id if this_boot else "another"
        order = duty.Order("acquire", epoch, boot, time.time() + 10)
        refusal = self.judged(order)
        ran = self.node.acquire(epoch, seconds=10, boot=boot)
        if refusal:
            assert ran.gist == (refusal.result, refusal.code)
        else:
            assert ran.gist == ("acquired", ""), ran.answer["text"]
            self.memory = duty.after_acquire(order, self.memory)
            self.alive = True

    @rule(step=STEPS)
    def release_killed(self, step: int) -> None:
        """Whatever a killed run did: the next release, of the same epoch, is as if it had not been."""
        epoch = self.memory.highest + 1
        words = ("--cluster", "orders", "--epoch", str(epoch), "--deadline", f"{time.time() + 5:.3f}")
        killed_at(self.node, step, "release", *words)
        self.release(up=1)

    @rule(step=STEPS)
    def acquire_killed(self, step: int) -> None:
        """And the next acquire."""
        epoch = self.memory.highest + 1
        words = ("--cluster", "orders", "--epoch", str(epoch), "--boot", self.boot_id)
        killed_at(self.node, step, "acquire", *words, "--deadline", f"{time.time() + 10:.3f}")
        self.acquire(up=1, this_boot=True)

    @rule(how=st.sampled_from(WAYS))
    def somebody_works_on_the_volume(self, how: str) -> None:
        """In its directory, with a file open, or in a mount namespace that has a copy of the mount."""
        if self.node.mounted() and self.alive:
            ready = self.node.home / f"ready-{uuid.uuid4().hex}"
            rest = f"touch {ready}; exec sleep 60"
            self.node.spawn(how.format(m=self.node.mount, r=rest), ready.exists)

    @precondition(lambda self: self.memory.serving is not None and self.alive)
    @rule()
    def the_device_is_pulled_and_comes_again(self) -> None:
        """A force-detach: what was mounted from it is dead, and stays in the tables until it is cleared."""
        self.node.yank(self.disk)
        self.alive = False
        self.disks += 1
        self.node.attach(self.disk, f"nvme{self.disks}n1")

    @rule()
    def shut_down(self) -> None:
        ran = self.node.node("shutdown")
        assert ran.gist == ("released", ""), ran.answer["text"]
        assert ran.answer["word"]["state"] == "STOP"
        self.memory = duty.after_local_release(self.memory)
        self.alive = True

    @rule()
    def reboot(self) -> None:
        """Everything that ran is gone, and so is every mount; the epoch file is not."""
        self.node.end_spawned()
        self.node.sh(f"while umount -l {self.node.mount} 2>/dev/null; do :; done")
        self.boot_id = str(uuid.uuid4())
        (self.node.home / "boot_id").write_text(self.boot_id)
        self.memory = duty.Memory(self.memory.highest, self.memory.released, None)
        self.alive = True

    @invariant()
    def kernel_memory_and_word_agree(self) -> None:
        if hasattr(self, "node"):
            assert self.node.mounted() == (self.memory.serving is not None)
            word = self.node.status()["word"]
            told = duty.Memory(word["highest"], word["released"], word["serving"])
            assert told == self.memory and word["boot"] == self.boot_id


TestMachine = pytest.mark.timeout(280)(Machine.TestCase)
TestMachine.settings = settings(
    max_examples=5, stateful_step_count=9, deadline=None, suppress_health_check=list(HealthCheck)
)
