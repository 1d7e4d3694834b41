"""Baton's Lambda functions: entry points only. They decode, call, and return.

on_word    a node's word, by EventBridge
on_signal  what EC2, SSM and AWS Health tell of nodes
sweep      every minute: whatever was lost, late or left unfinished
"""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
)
from chalice.app import Chalice, CloudWatchEvent, Rate

from chalicelib import events
from chalicelib.announced import notices_of
from chalicelib.clients import client
from chalicelib.house import Accepted, driving_seconds, house

app = Chalice(app_name="baton", configure_logs=False)
logger = Logger()

STAGE = os.environ.get("BATON_STAGE", "dev")
"""Also read while deploying, for the rule's pattern: Chalice sets the stage's variables then."""

WORDS = {"source": [{"prefix": f"baton.{STAGE}.node/"}], "detail-type": [events.WORD_TYPE]}
SIGNALS = {
    "source": list(events.SIGNALS),
    "detail-type": [kind for kinds in events.SIGNALS.values() for kind in kinds],
}

# A door-keeper against duplicates, not the authority: that is the record's conditional write. The
# key names the word itself, since a retried PutEvents makes a new event id.
ONCE = IdempotencyConfig(
    event_key_jmespath="[cluster, node, sequence]",
    raise_on_no_idempotency_key=True,
    expires_after_seconds=3600,
)


@app.on_cw_event(WORDS, name="on_word")  # type: ignore[untyped-decorator]
def on_word(event: CloudWatchEvent) -> None:
    """Accept a node's word, then drive its cluster if nobody does."""
    _correlate(event)
    heard = events.decode(event.to_dict(), house().settings.gate)
    if isinstance(heard, events.Rejected):
        house().reject(heard)
        return
    # The epoch as the node knows it, on lines that do not tell the record's own.
    logger.append_keys(cluster=heard.cluster, epoch=heard.word.highest)
    accepted = _accept_once(event, heard)
    if accepted is not None and accepted.changes:
        house().drive([accepted.cluster], _seconds(event))


@app.on_cw_event(SIGNALS, name="on_signal")  # type: ignore[untyped-decorator]
def on_signal(event: CloudWatchEvent) -> None:
    """Look at the clusters of the nodes that AWS tells something of, and keep what it announces."""
    _correlate(event)
    told = event.to_dict()
    if nodes := events.nodes_of(told):
        announced = notices_of(told, house().settings.gate.account)
        house().drive(house().wake(nodes, announced), _seconds(event))


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")  # type: ignore[untyped-decorator]
def sweep(event: CloudWatchEvent) -> None:
    """Drive every cluster that nobody drives."""
    _correlate(event)
    house().sweep(_seconds(event))


def _correlate(event: CloudWatchEvent) -> None:
    """Begin this invocation's log: each line carries the event that caused it."""
    logger.clear_state()
    logger.set_correlation_id(event.event_id)


def _seconds(event: CloudWatchEvent) -> float:
    return driving_seconds(event.context.get_remaining_time_in_millis())


def _accept_once(event: CloudWatchEvent, heard: events.Heard) -> Accepted | None:
    """Accept the word, unless an earlier copy of its event did. None: there is nothing to do."""
    ONCE.register_lambda_context(event.context)
    told = {
        "cluster": heard.cluster,
        "node": heard.word.node,
        "sequence": heard.word.sequence,
    }
    fresh: list[Accepted] = []
    keeper = DynamoDBPersistenceLayer(
        table_name=house().settings.idempotency_table, boto3_client=client("dynamodb")
    )

    @idempotent_function(  # type: ignore[untyped-decorator]
        data_keyword_argument="told", config=ONCE, persistence_store=keeper, key_prefix="word"
    )
    def accept(told: dict[str, Any]) -> bool:
        accepted = house().accept(heard)
        if isinstance(accepted, events.Rejected):
            house().reject(accepted)
            return False
        fresh.append(accepted)
        return True

    try:
        accept(told=told)
    except IdempotencyAlreadyInProgressError:
        logger.debug("this word is being accepted elsewhere", node=heard.word.node)
    except IdempotencyPersistenceLayerError as error:
        # Without a door-keeper duplicates come in, and find that the record holds them already.
        logger.warning("the idempotency table does not answer", why=str(error))
        if not fresh:
            accepted = house().accept(heard)
            return accepted if isinstance(accepted, Accepted) else None
    return fresh[0] if fresh else None
