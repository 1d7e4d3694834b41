"""What a driver looks at last, right before a call is sent; and how often it may send any.

Its ports are stubs: these guards need no AWS, and the clock moves only when a test says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from chalicelib import drive, pace, timing
from chalicelib.aws import Result
from chalicelib.model import Action, Attach, Cluster, Command, Fence, Lease, Outcome, Record, Send, Verb
from chalicelib.ports import Ports
from chalicelib.steps import FENCE_BUDGET

NOW = 1_000_000.0
CLUSTER = Cluster("c", ("a", "b"), ("v",), ("10.0.0.9",))
ATTACH = Attach("v", "a", "/dev/sdf")
STATUS = Send(Command("a", Verb.STATUS, 1, "a/1", NOW + 20))


@dataclass
class Outside:
    """Clock, budget and AWS in one: it notes what was sent."""

    at: float = NOW
    budget: bool = True
    spending_takes: float = 0.0
    sent: list[Action] = field(default_factory=list)

    def now(self) -> float:
        """This moment."""
        return self.at

    def spend(self, node: str, now: float) -> bool:
        """The fleet's budget, which is asked over the network."""
        self.at += self.spending_takes
        return self.budget

    def perform(self, cluster: Cluster, action: Action) -> Result:
        """EC2 or SSM does it."""
        self.sent.append(action)
        return Result(Outcome.DONE)

    def driver(self) -> drive.Driver:
        """A driver that touches nothing but this."""
        me = cast("Any", self)
        return drive.Driver(
            Ports(store=me, cloud=me, observer=me, fences=me, teller=me, clock=me, count=lambda _: None)
        )


def record(seconds: float = timing.LEASE_SECONDS) -> Record:
    """A record whose lease lasts so much longer."""
    return Record("c", lease=Lease("me", NOW + seconds))


def test_what_could_outlast_the_lease_is_not_sent() -> None:
    """A call's time-out can pass twice before it is over."""
    outside = Outside()
    late = outside.driver().perform(CLUSTER, ATTACH, record(drive.NEEDED_SECONDS - 0.1))
    assert (late.outcome, late.code, outside.sent) == (Outcome.NOT_YET, drive.LEASE_TOO_SHORT, [])
    assert drive.NEEDED_SECONDS >= 2 * timing.CALL_SECONDS
    assert outside.driver().perform(CLUSTER, ATTACH, record()).outcome is Outcome.DONE


def test_nothing_is_sent_without_a_lease() -> None:
    """A record that nobody drives is no right to drive."""
    outside = Outside()
    done = outside.driver().perform(CLUSTER, ATTACH, Record("c"))
    assert (done.code, outside.sent) == (drive.LEASE_TOO_SHORT, [])


def test_the_lease_is_looked_at_after_everything_else() -> None:
    """The budget's own call was slow: what is left of the lease by then is what counts."""
    outside = Outside(spending_takes=timing.LEASE_SECONDS - 1)
    done = outside.driver().perform(CLUSTER, Fence("a"), record())
    assert (done.code, outside.sent) == (drive.LEASE_TOO_SHORT, [])


def test_a_stop_is_not_sent_without_the_fleets_budget() -> None:
    """Whatever else a driver may do without it."""
    outside = Outside(budget=False)
    done = outside.driver().perform(CLUSTER, Fence("a"), record())
    assert (done.outcome, done.code, outside.sent) == (Outcome.NOT_YET, FENCE_BUDGET, [])
    assert outside.driver().perform(CLUSTER, ATTACH, record()).outcome is Outcome.DONE


def test_a_driver_sends_no_more_of_a_kind_than_ec2_takes() -> None:
    """What would be throttled waits here; a command costs EC2 nothing."""
    outside = Outside()
    driver = outside.driver()
    codes = [driver.perform(CLUSTER, ATTACH, record()).code for _ in range(pace.BURST + 1)]
    assert codes == [""] * pace.BURST + [drive.OWN_PACE]
    assert driver.perform(CLUSTER, STATUS, record()).outcome is Outcome.DONE
    assert driver.perform(CLUSTER, Fence("a"), record()).outcome is Outcome.DONE
    outside.at += 1
    again = [driver.perform(CLUSTER, ATTACH, record()).code for _ in range(int(pace.PER_SECOND) + 1)]
    assert again == [""] * int(pace.PER_SECOND) + [drive.OWN_PACE]


def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    """An hour without a call does not let the next minute run into EC2's limit."""
    paced = pace.Pace()
    assert all(paced.take(ATTACH, NOW) for _ in range(pace.BURST))
    later = NOW + 3600
    assert paced.has_room([ATTACH] * pace.BURST, later)
    assert not paced.has_room([ATTACH] * (pace.BURST + 1), later)
