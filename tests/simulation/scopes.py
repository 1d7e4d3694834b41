"""The named scopes: small worlds that are explored to their end.

Those of `CI` take two minutes together, those of `LONG` are run with `baton test --long` and by
`baton explore NAME`. docs/results.md keeps the figures of each.
"""

from __future__ import annotations

from tests.simulation.scope import Scope
from tests.simulation.world import Left

THREE = ("a", "b", "c")
FOUR_WORDS = "a BACKUP ; b MASTER ; b BACKUP ; a MASTER"
SAID_TWICE = "a BACKUP ; b MASTER ; a BACKUP ; b MASTER"
FLAPS = "b MASTER ; b BACKUP ; b MASTER ; b BACKUP"
TURNED_BACK = "a BACKUP ; b MASTER ; ~ b BACKUP ; ~ a MASTER"
"""The second hand-over is called for when nobody can move for a moment in the first."""

ADOPTED = "a MASTER ; settled ; a BACKUP ; b MASTER"
"""An adoption, then a hand-over, faults in whichever half."""

THERE_AND_BACK = "a STOP ; settled ; a BACKUP ; b STOP"
ALL_FAULTS = Left(deaths=2, copies=1, unknowns=1)

CI = (
    Scope("planned", "a BACKUP ; b MASTER", elects=False),
    Scope("crash, driver dies twice", "a off", left=Left(deaths=2)),
    Scope("hang, driver dies", "a hangs", left=Left(deaths=1)),
    Scope("hang and thaw", "a hangs ; ? a thaws"),
    Scope("owner reboots", "a boots", left=Left(deaths=1, unknowns=1, copies=1)),
    Scope("owner shuts down", "a shuts-down", left=Left(deaths=1)),
    Scope("partition, incumbent wins", "b MASTER ; b BACKUP", elects=False),
    Scope("partition, other wins", "b MASTER ; a BACKUP", elects=False),
    Scope("claim that flaps, all faults", FLAPS, elects=False, left=ALL_FAULTS),
    Scope("second failover in the first", "a off ; ? b off", nodes=THREE),
    Scope("there and back, zombie driver", THERE_AND_BACK, left=Left(pauses=1)),
    Scope("there and back, late call", THERE_AND_BACK, left=Left(lates=1)),
    Scope("hang, driver dies, unknown", "a hangs", left=Left(deaths=1, unknowns=1)),
    Scope("hang, driver dies, late call", "a hangs", left=Left(deaths=1, lates=1)),
    Scope("hang and thaw, zombie driver", "a hangs ; ? a thaws", left=Left(pauses=1)),
    Scope("second failover, driver dies", "a off ; ? b off", nodes=THREE, left=Left(deaths=1)),
    Scope("four words at once", FOUR_WORDS, elects=False),
)

LONG = (
    Scope("said twice, all faults", SAID_TWICE, elects=False, left=ALL_FAULTS),
    Scope("adopted, all faults", ADOPTED, adopted=False, elects=False, left=ALL_FAULTS),
    Scope("turned back, all faults", TURNED_BACK, elects=False, left=ALL_FAULTS),
)

SCOPES = {scope.name: scope for scope in (*CI, *LONG)}
