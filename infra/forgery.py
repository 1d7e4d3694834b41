"""Tries to speak in a node's name, as any principal of the account might: it has to be refused.

That a Deny in the default bus's policy binds principals of the same account is documented, and no
emulator can prove it; here AWS itself is asked, after each deployment. Nothing comes of the attempt
if it succeeds: no rule of Baton's matches its kind.
"""

from __future__ import annotations

import time
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.account import DENIED, Account, Trouble, code
from infra.names import Names

KIND: Final = "Baton Proof"
NOBODY: Final = "nobody:i-00000000000000000"
SPREAD_SECONDS: Final = 30.0
"""A policy that was just put holds everywhere within seconds; this is long for that."""
POLL_SECONDS: Final = 3.0


def try_it(account: Account, names: Names) -> str:
    """What came of it, as a line for people. Raises Trouble if a node can be impersonated."""
    client = account.client("events")
    if not _is_taken(client, f"baton.{names.stage}"):
        return (
            "Not tried: whether a stranger can speak in a node's name, for these credentials may send"
            " no events at all. Repeat with ones that may (events:PutEvents)."
        )
    deadline = time.monotonic() + SPREAD_SECONDS
    while _is_taken(client, f"{names.node_source}{NOBODY}"):
        if time.monotonic() >= deadline:
            raise Trouble(
                f"Stage {names.stage} is deployed, but EventBridge takes events in a node's name from"
                f" anybody in account {account.id}: the policy of the default bus does not deny them."
                " Restrict events:PutEvents in the account (docs/security.md), and repeat."
            )
        time.sleep(POLL_SECONDS)
    return "An event in a node's name was refused, as it has to be."


def _is_taken(client: Any, source: str) -> bool:
    entry = {"Source": source, "DetailType": KIND, "Detail": "{}"}
    try:
        answer = client.put_events(Entries=[entry])
    except ClientError as error:
        if code(error) in DENIED:
            return False
        raise
    return not answer["FailedEntryCount"]
