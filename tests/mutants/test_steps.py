"""The single steps of a hand-over in states that no story reaches: each is one decision."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.decide import decide
from chalicelib.model import (
    Action,
    AddressView,
    Attach,
    Attached,
    Attachment,
    Decision,
    Detach,
    Fence,
    InstanceView,
    Intent,
    Observation,
    Outcome,
    Power,
    Reason,
    Send,
    Verb,
    VolumeView,
    Vrrp,
)
from chalicelib.steps import DEVICE_TAKEN, DEVICES, FENCE_BUDGET
from tests.mutants.states import CLUSTER, NOW, calls, ready, reason, seen, sent, unreleased, word

BOTH = replace(CLUSTER, volumes=("v", "w"))
MENDING = word("b", Vrrp.MASTER, highest=2, released=1)


def made(decision: Decision) -> list[Action]:
    """The calls to EC2."""
    return [action for action in decision.actions if not isinstance(action, Send)]


def intent(action: Attach | Detach | Fence, ago: float, epoch: int = 2, **more: object) -> Intent:
    """A call of so many seconds ago; it was done."""
    return replace(Intent(action, epoch, NOW - ago, Outcome.DONE), **more)  # type: ignore[arg-type]


def with_second_volume(observation: Observation, node: str = "") -> Observation:
    """EC2 shows w as well, there or nowhere."""
    at = (Attachment(node, "/dev/sdg", Attached.ATTACHED),) if node else ()
    return replace(observation, volumes=(*observation.volumes, VolumeView("w", at)))


# ------------------------------------------------------------------------------------- status


def test_what_was_answered_in_another_boot_is_asked_again_at_once() -> None:
    """B rebooted right after its answer."""
    record = ready()
    again = word("b", Vrrp.MASTER, boot="b/2")
    words = tuple(again if w.node == "b" else w for w in record.words)
    soon = record.with_seat(
        replace(record.seat("b"), asked=(replace(record.seat("b").asked[0], at=NOW - 5),))
    )
    assert sent(decide(CLUSTER, soon, seen("b", "b"))) == {(Verb.ACQUIRE, "b")}
    assert sent(decide(CLUSTER, replace(soon, words=words), seen("b", "b"))) == {(Verb.STATUS, "b")}


# ------------------------------------------------------------------------------------- detach


def test_a_volume_that_is_on_its_way_out_is_not_detached_again() -> None:
    """Also one that waits for its host to let go."""
    for state in (Attached.DETACHING, Attached.BUSY):
        assert calls(decide(CLUSTER, ready(), seen("a", "b", state))) == []
    assert calls(decide(CLUSTER, ready(), seen("a", "b"))) == ["Detach"]


def test_only_what_is_to_be_mended_is_taken_off_the_owner() -> None:
    """W is; v stays."""
    observation = with_second_volume(seen("b", "b"), "b")
    decision = decide(BOTH, ready(MENDING, mend=("w",)), observation)
    assert made(decision) == [Detach("w", "b")]


def test_only_a_call_of_this_epoch_that_was_done_to_it_has_mended_a_volume() -> None:
    """Neither one from before, nor one that did not happen, nor one of something else."""
    done = intent(Attach("v", "b", "/dev/sdf"), 5)
    others = (
        replace(done, epoch=1),
        replace(done, outcome=Outcome.NOT_YET),
        intent(Attach("w", "b", "/dev/sdg"), 5),
        intent(Detach("v", "a"), 5),
    )
    observation = with_second_volume(seen("b", "b"), "b")
    for other in others:
        record = ready(MENDING, mend=("v",), intents=(other,))
        assert Detach("v", "b") in made(decide(BOTH, record, observation))
    record = ready(MENDING, mend=("v",), intents=(done,))
    assert made(decide(BOTH, record, observation)) == []


# ----------------------------------------------------------------------------- move and attach


def test_an_owner_without_an_interface_in_the_subnet_blocks() -> None:
    """Its other interfaces would not do."""
    observation = seen("b")
    elsewhere = AddressView("10.0.0.9", "eni-a", "a", (("a", "eni-a"),))
    decision = decide(CLUSTER, ready(), replace(observation, addresses=(elsewhere,)))
    assert (reason(decision), calls(decision)) == (Reason.MISSING, [])


def _devices(*names: str) -> Observation:
    """The volume is nowhere, and b uses these device names."""
    observation = seen("", "b")
    others = tuple(view for view in observation.instances if view.node != "b")
    return replace(observation, instances=(*others, InstanceView("b", Power.RUNNING, names)))


def test_a_device_name_that_is_in_use_is_not_taken() -> None:
    """By the instance or its image; if all are, that blocks."""
    assert made(decide(CLUSTER, ready(), _devices())) == [Attach("v", "b", "/dev/sdf")]
    assert made(decide(CLUSTER, ready(), _devices("/dev/sdf"))) == [Attach("v", "b", "/dev/sdg")]
    full = decide(CLUSTER, ready(), _devices(*DEVICES))
    assert (reason(full), calls(full)) == (Reason.REFUSED, [])


def test_two_volumes_get_two_device_names() -> None:
    """In the same breath."""
    decision = decide(BOTH, ready(), with_second_volume(seen("", "b")))
    assert made(decision) == [Attach("v", "b", "/dev/sdf"), Attach("w", "b", "/dev/sdg")]


def test_a_device_name_that_ec2_refused_is_not_tried_again_in_this_epoch() -> None:
    """A new epoch may: the name may be free by then."""
    refused = intent(Attach("v", "b", "/dev/sdf"), 2, outcome=Outcome.REFUSED, code=DEVICE_TAKEN)
    decision = decide(CLUSTER, ready(intents=(refused,)), _devices())
    assert made(decision) == [Attach("v", "b", "/dev/sdg")]
    before = replace(refused, epoch=1)
    assert made(decide(CLUSTER, ready(intents=(before,)), _devices())) == [Attach("v", "b", "/dev/sdf")]


def test_a_volume_that_may_be_attaching_is_attached_under_no_second_name() -> None:
    """The first call went astray: it is made again as it was."""
    astray = intent(Attach("v", "b", "/dev/sdh"), 25, outcome=Outcome.UNKNOWN)
    decision = decide(CLUSTER, ready(intents=(astray,)), _devices())
    assert made(decision) == [Attach("v", "b", "/dev/sdh")]


def test_nothing_is_attached_to_a_node_that_is_not_running() -> None:
    """EC2 did not say what it is."""
    assert calls(decide(CLUSTER, ready(), seen("", "b", b=Power.UNKNOWN))) == []


# ------------------------------------------------------------------------------------- retries


def test_a_call_is_made_again_after_its_interval() -> None:
    """Soon if it did not happen; later if it shows no effect; after three tries, much later."""
    detach = Detach("v", "a")
    cases = (
        (intent(detach, 2, outcome=Outcome.NOT_YET), True),
        (intent(detach, 0.5, outcome=Outcome.NOT_YET), False),
        (intent(detach, 2), False),
        (intent(detach, 11), True),
        (intent(detach, 15, tries=2), False),
        (intent(detach, 100, tries=3), False),
        (intent(detach, 301, tries=3), True),
        (intent(detach, 2, epoch=1), True),
    )
    for last, again in cases:
        record = ready(intents=(last,))
        assert calls(decide(CLUSTER, record, seen("a", "b"))) == (["Detach"] if again else [])


def test_what_ec2_refuses_is_told() -> None:
    """With its code; it is tried again in its time."""
    refused = intent(Detach("v", "a"), 2, outcome=Outcome.REFUSED, code="UnauthorizedOperation")
    decision = decide(CLUSTER, ready(intents=(refused,)), seen("a", "b"))
    assert reason(decision) is Reason.REFUSED
    assert decision.record.obstacle is not None
    assert "UnauthorizedOperation" in decision.record.obstacle.text
    assert calls(decision) == []


def test_that_the_fleets_budget_is_used_up_is_told() -> None:
    """It is no refusal of EC2's, and no trouble of this cluster's."""
    spent = intent(Fence("a"), 0.5, outcome=Outcome.NOT_YET, code=FENCE_BUDGET)
    decision = decide(CLUSTER, replace(unreleased(), intents=(spent,)), seen())
    assert (reason(decision), calls(decision)) == (Reason.FENCE_BUDGET, [])
