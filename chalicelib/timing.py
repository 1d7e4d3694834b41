"""Every time bound of the orchestrator, its unit and its reason; relations are checked at import.

All values are seconds. A cluster's definition may change the two that trade speed against false
alarms (`heartbeat_seconds`, `challenge_seconds`); the rest follow from them or from AWS.
"""

HEARTBEAT_SECONDS = 15.0
"""How often a node repeats its state: four words a minute and node cost about nothing."""

FRESH_HEARTBEATS = 3
"""A word older than this many heartbeats says nothing about now: two may be lost."""

CHALLENGE_SECONDS = 5.0
"""How long an owner with a live agent may take to answer a challenge. SSM answers in 1-2 s."""

RELEASE_SECONDS = 20.0
"""Stop services, unmount, answer. Past it the holder's state is unknown, and it is fenced."""

STATUS_SECONDS = 10.0
"""`status` changes nothing and answers at once; SSM delivery takes up to some seconds."""

ACQUIRE_SECONDS = 90.0
"""Device, journal replay, mount, start, health. A filesystem check can take this long."""

HANDOVER_SECONDS = 30.0
"""An owner that hands over waits so long for its peer's epoch: election 1 s, then Lambda and SSM."""

NOTICE_SECONDS = 900.0
"""So long before the moment that AWS announced for an owner, it hands over: time for all tries, and
for a person after them; and not so early that maintenance at night costs an outage at noon."""

NOTICE_KEPT_SECONDS = 3600.0
"""What was announced and has not come true for so long after its end will not come."""

STOPPING_SECONDS = 240.0
"""A forced stop of an impaired host takes one to some minutes; beyond, a person is told."""

STUCK_SECONDS = 90.0
"""An attach or detach under way longer than this is stuck (FACTS: EBS CSI driver's figure)."""

LEASE_SECONDS = 30.0
"""The right to drive. Renewed with each write; a dead driver is replaced after this long."""

CALL_SECONDS = 5.0
"""Connect plus read timeout of one AWS call, which is sent once. Checked against the lease."""

CALL_TTL_SECONDS = 60.0
"""How long a call without a definite outcome may still take effect inside AWS."""

MARGIN_SECONDS = 3.0
"""Slack for delivery and clock differences between a node and the driver."""

POLL_SECONDS = 0.5
"""Between two looks while something moves: attaches take 1-4 s."""

POLL_MOST_SECONDS = 4.0
"""Cap of the growing interval between looks: 20 Describes a second serve 80 moving clusters."""

LINGER_SECONDS = 45.0
"""A driver waits this long for a known deadline; a later one is left to the sweep."""

DRIVE_SECONDS = 240.0
"""How long one Lambda invocation drives before it leaves the rest to the sweep."""

RETRY_SECONDS = 10.0
"""First interval before a command or call is tried again; it doubles."""

RETRY_MOST_SECONDS = 300.0
"""Cap of such intervals: five minutes between two challenges or releases of a silent node."""

START_AGAIN_SECONDS = 3600.0
"""A node that Baton stopped is started at most this often: no loop of stop and start."""

NOBODY_SECONDS = 15.0
"""Nobody claims for so long: keepalived has taken the address off every interface; alarm."""

AHEAD_SECONDS = 300.0
"""A word dated further ahead than this is accepted and alarmed: that node's clock is wrong."""

FENCE_WINDOW_SECONDS = 600.0
FENCES_MOST = 5
"""At most so many Stops per window over the whole fleet: a broken Baton must not stop a fleet."""

BOOT_SECONDS = 300.0
"""A node that EC2 starts is given this long to say its first word before a deadline runs."""

ADRIFT_SECONDS = 5.0
"""Settled, but EC2 shows otherwise for so long: longer than the staleness of a Describe."""

NOT_YET_SECONDS = 1.0
"""First interval after a throttled call, which did not happen; it doubles up to the cap."""

TRIES_MOST = 3
"""Tries of one mutation in one epoch. EC2 that refuses thrice will refuse a fourth time."""


def _check() -> None:
    rules = {
        "a call ends well within the lease": CALL_SECONDS * 2 < LEASE_SECONDS,
        "an unknown call outlives no TTL": CALL_SECONDS < CALL_TTL_SECONDS,
        "a challenge is shorter than a heartbeat": CHALLENGE_SECONDS < HEARTBEAT_SECONDS,
        "a poll is shorter than any deadline": POLL_MOST_SECONDS < CHALLENGE_SECONDS,
        "a driver lingers past each node deadline but Acquire": LINGER_SECONDS > RELEASE_SECONDS,
        "a release may take as long as a status": STATUS_SECONDS <= RELEASE_SECONDS,
        "a stale Describe is not believed before it is looked at again": ADRIFT_SECONDS > POLL_MOST_SECONDS,
        "all tries of a hand-over fit before what was announced": TRIES_MOST
        * (HANDOVER_SECONDS + RETRY_SECONDS * 2**TRIES_MOST)
        < NOTICE_SECONDS,
        "a driver lingers until a hand-over was tried": LINGER_SECONDS > HANDOVER_SECONDS,
        "retries grow": NOT_YET_SECONDS < RETRY_SECONDS and RETRY_SECONDS < RETRY_MOST_SECONDS,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError(f"timing.py contradicts itself: {'; '.join(broken)}")


_check()
