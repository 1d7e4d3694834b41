"""hypothesis drives release and acquire against the real kernel and compares with the pure duties."""

from __future__ import annotations

import contextlib
import time
import uuid

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node_hook import duty
from tests.lab_node import rig

EPOCHS = st.integers(-1, 2)


class Machine(RuleBasedStateMachine):
    """What the kernel shows is what the pure memory says, whatever order the commands came in."""

    @initialize()
    def boot(self) -> None:
        self.stack = contextlib.ExitStack()
        self.node = self.stack.enter_context(rig.node())
        self.disk = self.node.disk()
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
            assert ran.gist == ("released", "")
            self.memory = duty.after_release(order, self.memory)

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

    @rule()
    def somebody_works_on_the_volume(self) -> None:
        if self.node.mounted():
            ready = self.node.home / f"ready-{uuid.uuid4().hex}"
            self.node.spawn(
                f"cd {self.node.mount}; echo x > file; touch {ready}; exec sleep 60", ready.exists
            )

    @rule()
    def shut_down(self) -> None:
        ran = self.node.node("shutdown")
        assert ran.gist == ("released", "")
        assert ran.answer["word"]["state"] == "STOP"
        self.memory = duty.after_local_release(self.memory)

    @rule()
    def reboot(self) -> None:
        self.node.sh(f"umount -l {self.node.mount} 2>/dev/null; true")
        self.boot_id = str(uuid.uuid4())
        (self.node.home / "boot_id").write_text(self.boot_id)
        self.memory = duty.Memory(self.memory.highest, self.memory.released, None)

    @invariant()
    def kernel_and_memory_agree(self) -> None:
        if hasattr(self, "node"):
            assert self.node.mounted() == (self.memory.serving is not None)


TestMachine = pytest.mark.timeout(280)(Machine.TestCase)
TestMachine.settings = settings(
    max_examples=4, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
