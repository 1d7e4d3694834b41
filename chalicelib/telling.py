"""What Baton tells: one log line, one metric and one event for each piece of news.

Metrics are written into the log in CloudWatch's embedded format, which costs no call. The event's
source is `baton.<stage>`; the rule for nodes' words wants the prefix `baton.<stage>.node/`, so
Baton's own events cannot wake it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.clients import Client
from chalicelib.model import News, Record

NAMESPACE: Final = "Baton"
NEWS_TYPE: Final = "Baton News"
ENTRIES_MOST: Final = 10
"""Events that one PutEvents takes."""

logger = Logger(child=True)


def count(name: str, stage: str, value: float = 1, unit: MetricUnit = MetricUnit.Count) -> None:
    """One metric of this stage; its name is what the alarms of the support stack look for."""
    with single_metric(name=name, unit=unit, value=value, namespace=NAMESPACE) as metric:
        metric.add_dimension(name="stage", value=stage)


class Teller:
    """Tells people and machines. Nothing depends on it, so it never raises what AWS says."""

    def __init__(self, events: Client, stage: str) -> None:
        self._events = events
        self._stage = stage

    def tell(self, record: Record, news: Sequence[News]) -> None:
        """Tell the news of one decision."""
        for one in news:
            logger.info(one.text, news=one.kind, cluster=record.cluster, epoch=record.epoch, node=one.node)
            count(_metric(one.kind), self._stage)
            if one.kind == "settled":
                self._time(record)
        for start in range(0, len(news), ENTRIES_MOST):
            self._publish(record, news[start : start + ENTRIES_MOST])

    def _time(self, record: Record) -> None:
        settled = dict(record.marks).get("settled")
        if settled is not None and record.granted_at:
            seconds = max(settled - record.granted_at, 0.0)
            count("HandoverSeconds", self._stage, seconds, MetricUnit.Seconds)

    def _publish(self, record: Record, news: Sequence[News]) -> None:
        entries = [
            {
                "Source": f"baton.{self._stage}",
                "DetailType": NEWS_TYPE,
                "Detail": json.dumps(_detail(record, one)),
            }
            for one in news
        ]
        try:
            answer = self._events.put_events(Entries=entries)
        except (ClientError, BotoCoreError) as error:
            _complain(record, str(error))
            return
        if answer["FailedEntryCount"]:
            _complain(record, str([entry for entry in answer["Entries"] if entry.get("ErrorCode")]))


def _complain(record: Record, why: str) -> None:
    text = "some of Baton's news was not published"
    logger.warning(text, cluster=record.cluster, epoch=record.epoch, why=why)


def _detail(record: Record, news: News) -> dict[str, Any]:
    return {
        "version": 1,
        "cluster": record.cluster,
        "kind": news.kind,
        "text": news.text,
        "node": news.node,
        "epoch": record.epoch,
        "owner": record.owner,
        "settled": record.settled,
    }


def _metric(kind: str) -> str:
    """`still-blocked` as CloudWatch names it: `StillBlocked`."""
    return "".join(part.capitalize() for part in kind.replace("_", "-").split("-"))
