"""The order in which the loop asks for I/O, whatever is answered: S5, S6, S9 and S11 from inside.

`ordered` is a checker of such an order, and rejects the ones that are made up at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chalicelib import timing
from chalicelib.model import (
    Attach,
    Attached,
    Attachment,
    Cluster,
    InstanceView,
    Lease,
    News,
    Observation,
    Outcome,
    Power,
    Record,
    VolumeView,
    Vrrp,
    Word,
)
from chalicelib.progress import Done
from chalicelib.reconcile import (
    Act,
    GiveUp,
    Load,
    Observe,
    Persist,
    Reply,
    Request,
    Take,
    Tell,
    Wait,
    reconcile,
)

NOW = 1_000_000.0
CLUSTER = Cluster("c", ("a", "b"), ("v",), ())


def ordered(requests: Sequence[Request]) -> str:
    """What is wrong with this order of requests; "" if nothing is."""
    looked = durable = False
    for request in requests:
        if isinstance(request, Observe):
            looked, durable = True, False
        if isinstance(request, Persist):
            durable = looked
        if isinstance(request, Act):
            if not looked:
                return "S11: acts again, and has not looked since it acted"
            if not durable:
                return "S9: acts on what is not durable"
            looked = durable = False
    return ""


def word(node: str, state: Vrrp = Vrrp.BACKUP, **more: object) -> Word:
    """A fresh word of a node."""
    said = Word(node, state, sequence=int(NOW * 1000) - 1000, boot=f"{node}/1", priority=100)
    return replace(said, **more)  # type: ignore[arg-type]


class Outside:
    """Answers requests as the ports do, and notes them; `lost` is the number of a refused Persist."""

    def __init__(
        self, record: Record, lost: int = 0, outcome: Outcome = Outcome.DONE, free: bool = True
    ) -> None:
        self.record, self.lost, self.outcome, self.free = record, lost, outcome, free
        self.now = NOW
        self.asked: list[Request] = []
        self.taken_by: str | None = None
        self.news: list[News] = []
        self.refuse_give_up = 0

    def run(self, most: int = 200) -> list[Request]:
        """Drive until it ends, or has asked so often."""
        steps = reconcile(CLUSTER, "me")
        request = next(steps)
        for _ in range(most):
            self.asked.append(request)
            try:
                request = steps.send(self.reply(request))
            except StopIteration:
                break
        return self.asked

    def reply(self, request: Request) -> Reply:
        """What comes back."""
        if isinstance(request, Load):
            return self.load()
        if isinstance(request, Take):
            return self.load() if self.free else None
        if isinstance(request, Observe):
            return self.seen()
        if isinstance(request, Persist):
            return self.persist(request.record)
        if isinstance(request, Act):
            return tuple(Done(action, self.outcome, self.now, id="x") for action in request.actions)
        if isinstance(request, GiveUp):
            self.refuse_give_up -= 1
            return self.refuse_give_up < 0
        if isinstance(request, Wait):
            self.now = request.until
        return None

    def load(self) -> Record:
        """The record with a lease, and with words that are as young as ever."""
        lease = Lease(self.taken_by or "me", self.now + timing.LEASE_SECONDS)
        said = tuple(replace(w, sequence=int(self.now * 1000) - 1000) for w in self.record.words)
        return replace(self.record, lease=lease, words=said)

    def persist(self, record: Record) -> Record | None:
        """The write with this number finds that somebody else drives; the next one as well."""
        if self.lost and self.count(Persist) >= self.lost:
            return None
        self.record = record
        return record

    def seen(self) -> Observation:
        """Both run, and the volume is nowhere until it was to be attached."""
        calls = [i for i in self.record.intents if isinstance(i.action, Attach) and i.outcome]
        attached = bool(calls) or self.record.settled
        at = (Attachment("a", "/dev/sdf", Attached.ATTACHED),) if attached else ()
        running = tuple(InstanceView(node, Power.RUNNING) for node in CLUSTER.nodes)
        return Observation(self.now, running, (VolumeView("v", at),))

    def count(self, kind: type) -> int:
        """How often it was asked for that."""
        return sum(isinstance(request, kind) for request in self.asked)


def claimed() -> Record:
    """A claims, and nobody owns anything yet."""
    return Record("c", words=(word("a", Vrrp.MASTER), word("b")))


def at_rest() -> Record:
    """Epoch 1 is settled, and nothing is to be done."""
    words = (word("a", Vrrp.MASTER, highest=1, serving=1), word("b"))
    return Record("c", words=words, epoch=1, owner="a", highest_issued=1, settled=True)


@pytest.mark.parametrize("outcome", Outcome)
def test_after_each_call_it_looks_again(outcome: Outcome) -> None:
    """S11, and S9: whatever became of the calls before."""
    outside = Outside(claimed(), outcome=outcome)
    requests = outside.run()
    assert outside.count(Act) > 1
    assert ordered(requests) == ""


def test_what_became_of_a_call_is_recorded() -> None:
    """Else nobody would wait for what may still come."""
    outside = Outside(claimed(), outcome=Outcome.UNKNOWN)
    outside.run(most=20)
    assert {i.outcome for i in outside.record.intents} <= {Outcome.UNKNOWN}
    assert outside.record.intents


def test_without_the_lease_it_asks_for_nothing_more() -> None:
    """S6: somebody else drives."""
    outside = Outside(claimed(), free=False)
    assert [type(r) for r in outside.run()] == [Load, Take]


def test_a_lease_that_somebody_else_has_by_now_ends_the_drive() -> None:
    """S5: the record that it reads says so."""
    outside = Outside(claimed())
    outside.taken_by = "another"
    assert [type(r) for r in outside.run()] == [Load, Take, Load]


def test_a_write_that_is_refused_ends_the_drive_before_anything_is_done() -> None:
    """S5, S9: its intents are not durable."""
    outside = Outside(claimed(), lost=1)
    requests = outside.run()
    assert isinstance(requests[-1], Persist)
    assert outside.count(Act) == 0


def test_an_outcome_that_cannot_be_written_ends_the_drive() -> None:
    """S5: whoever drives now looks for itself."""
    outside = Outside(claimed(), lost=2)
    assert [type(r) for r in outside.run()[-2:]] == [Act, Persist]


def test_a_lease_that_is_not_taken_back_is_driven_on() -> None:
    """Story 10: a word came after the last decision. It looks and decides again."""
    outside = Outside(at_rest())
    outside.refuse_give_up = 1
    kinds = [type(r) for r in outside.run() if not isinstance(r, Persist | Tell | Wait)]
    assert kinds == [Load, Take, Load, Observe, GiveUp, Load, Observe, GiveUp]


def test_the_words_that_come_with_a_write_were_not_decided_on() -> None:
    """Story 10, from inside: the version that is given up is the one that was decided on."""
    outside = Outside(replace(at_rest(), adrift_since=NOW, words_version=3))
    kept = outside.persist

    def later(record: Record) -> Record | None:
        stored = kept(record)
        return None if stored is None else replace(stored, words_version=4)

    outside.persist = later  # type: ignore[method-assign]
    (given_up,) = [r for r in outside.run() if isinstance(r, GiveUp)]
    assert outside.count(Persist) == 1
    assert given_up.record.words_version == 3


RECORD = claimed()
SEEN, KEPT, DONE = Observe(RECORD), Persist(RECORD), Act((), RECORD)


@pytest.mark.parametrize(
    ("requests", "broken"),
    [
        ((Load(), SEEN, KEPT, DONE, KEPT, Load(), SEEN, KEPT, DONE), ""),
        ((SEEN, KEPT, DONE, DONE), "S11"),
        ((SEEN, KEPT, DONE, KEPT, Load(), KEPT, DONE), "S11"),
        ((KEPT, DONE), "S11"),
        ((SEEN, DONE), "S9"),
        ((KEPT, SEEN, DONE), "S9"),
        ((SEEN, KEPT, DONE, KEPT, SEEN, DONE), "S9"),
    ],
)
def test_the_checker_rejects_an_order_that_was_made_up(requests: tuple[Request, ...], broken: str) -> None:
    """One that cannot say no proves nothing."""
    assert ordered(requests).split(":")[0] == broken
