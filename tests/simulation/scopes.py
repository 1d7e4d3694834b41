"""The named scopes: small worlds that are explored to their end.

Those of `CI` take two minutes together; those of `LONG` are run with `baton test --long` and by
`baton explore NAME`. docs/results.md keeps the figures of each.
"""

from __future__ import annotations

from tests.simulation.scope import Scope
from tests.simulation.world import Left

THREE = ("a", "b", "c")
FOUR_WORDS = "a BACKUP ; b MASTER ; b BACKUP ; a MASTER"
THERE_AND_BACK = "a STOP ; settled ; a BACKUP ; b STOP"

CI = (
    Scope("planned", "a BACKUP ; b MASTER", elects=False),
    Scope("crash, driver dies twice", "a off", left=Left(deaths=2)),
    Scope("hang, driver dies", "a hangs", left=Left(deaths=1)),
    Scope("owner reboots", "a boots", left=Left(deaths=1, unknowns=1, copies=1)),
    Scope("owner shuts down", "a shuts-down", left=Left(deaths=1)),
    Scope("partition, incumbent wins", "b MASTER ; b BACKUP", elects=False),
    Scope("partition, other wins", "b MASTER ; a BACKUP", elects=False),
    Scope("second failover in the first", "a off ; ? b off", nodes=THREE),
    Scope("zombie driver, there and back", THERE_AND_BACK, left=Left(pauses=1)),
)

LONG = (
    Scope("hang, driver dies, unknown", "a hangs", left=Left(deaths=1, unknowns=1)),
    Scope("hang, driver dies, late call", "a hangs", left=Left(deaths=1, lates=1)),
    Scope("hang and thaw, held up", "a hangs ; ? a thaws", left=Left(slow=1)),
    Scope("four words", FOUR_WORDS, elects=False),
    Scope("four words, two deaths, a copy", FOUR_WORDS, elects=False, left=Left(deaths=2, copies=1)),
    Scope(
        "four words, two deaths, a copy, an unknown",
        FOUR_WORDS,
        elects=False,
        left=Left(deaths=2, copies=1, unknowns=1),
    ),
)

SCOPES = {scope.name: scope for scope in (*CI, *LONG)}
