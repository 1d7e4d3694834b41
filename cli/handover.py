"""`./baton handover`: moves a cluster in order, by asking its owner to give up mastership.

It sends the SSM document for people, so keepalived decides and Baton follows as it always does:
nothing is moved behind its back, and a hand-over that cannot succeed is refused before it begins.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import click

from chalicelib.facts import Facts
from chalicelib.model import Record
from chalicelib.news import between
from cli import words
from cli.audit import note
from cli.options import as_json
from cli.pausing import why_option
from cli.session import Session, in_stage, print_json
from infra.account import Trouble, code

DELIVERY_SECONDS: Final = 30
"""The least that SSM allows for the delivery of a command."""
LOOK_SECONDS: Final = 0.5
ENDED: Final = frozenset({"Success", "Failed", "Cancelled", "TimedOut", "Undeliverable", "Terminated"})


@click.command()
@click.argument("cluster")
@click.option("--to", "target", metavar="NODE", help="The node that must take over.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--anyway", is_flag=True, help="Hand over even if no other node is known to be ready.")
@click.option("--wait", default=180.0, show_default=True, metavar="SECONDS", help="How long to follow it.")
@why_option
@as_json
@in_stage
def command(
    session: Session,
    cluster: str,
    target: str | None,
    dry_run: bool,
    anyway: bool,
    wait: float,
    why: str,
    as_json: bool,
) -> None:
    """Move CLUSTER from its owner to another node and follow it until it is settled."""
    defined, record = session.cluster(cluster), session.store.load(cluster)
    facts = Facts(defined, record, session.observe({cluster: (defined, record)})[cluster])
    owner, heir = plan(facts, target, anyway)
    say: Callable[[str], None] = (lambda _: None) if as_json else click.echo
    for line in outline(facts, owner, heir):
        say(line)
    if dry_run:
        if as_json:
            print_json({"cluster": cluster, "from": owner, "to": heir, "begun": False})
        return
    note(session, cluster, f"hand-over from {owner} to {heir or 'whoever keepalived elects'}", why)
    begin = time.time()
    last = follow(session, record, ask(session, cluster, owner, heir, anyway), wait, say)
    done = last.settled and last.epoch > record.epoch and last.owner != owner
    if as_json:
        marks = [{"step": step, "at": at} for step, at in last.marks]
        told = {"cluster": cluster, "from": owner, "to": last.owner, "epoch": last.epoch, "settled": done}
        print_json({**told, "begun": True, "seconds": time.time() - begin, "timeline": marks})
    if not done:
        why = unsettled(record, last)
        raise Trouble(f"Not settled on another node after {wait:g} s: {why}. See `./baton status {cluster}`.")
    say(f"{last.owner} serves, {words.span(time.time() - begin)} after it was asked for.")
    sys.exit(0)


def unsettled(first: Record, last: Record) -> str:
    """Why a hand-over has not come to its end, as far as the record tells."""
    if last.obstacle is not None:
        return f"{last.obstacle.reason}: {last.obstacle.text}"
    if last.epoch == first.epoch:
        return f"no other node has become MASTER, and {first.owner} has not said that it refuses"
    step = last.marks[-1][0] if last.marks else "granted"
    return f"epoch {last.epoch} is under way ({step})"


def plan(facts: Facts, target: str | None, anyway: bool) -> tuple[str, str]:
    """The owner, and who will take over; "" if that is left to keepalived. Raises Trouble."""
    record, cluster = facts.record, facts.cluster
    if record.owner is None:
        raise Trouble(f"{cluster.name} has no owner yet, so there is nothing to hand over.")
    if cluster.paused:
        raise Trouble(f"{cluster.name} is paused: `./baton resume {cluster.name}` first.")
    if not record.settled:
        raise Trouble(f"{cluster.name} is not settled: see `./baton status {cluster.name}` and wait.")
    if target == record.owner:
        raise Trouble(f"{target} is the owner already; nothing was changed.")
    if target is not None and target not in cluster.nodes:
        raise Trouble(f"{target} is no node of {cluster.name}: {', '.join(cluster.nodes)}.")
    others = sorted((node for node in cluster.nodes if node != record.owner), key=facts.rank)
    able = [node for node in others if facts.is_able(node)]
    return record.owner, _heir(able, target, anyway)


def _heir(able: list[str], target: str | None, anyway: bool) -> str:
    if not able and not anyway:
        raise Trouble(
            "No other node is ready: one that runs, has spoken lately and whose SSM agent is up."
            " Mend one (./baton status), or say --anyway and have nobody serve if nobody takes over."
        )
    if target is None or target in able[:1]:
        return able[0] if able else ""
    if target not in able:
        raise Trouble(f"{target} is not ready: it does not run, is silent, or its SSM agent is down.")
    raise Trouble(
        f"keepalived would elect {able[0]}, whose priority is higher than that of {target}."
        f" Stop keepalived on {able[0]} for the time of the hand-over, or change the priorities."
    )


def outline(facts: Facts, owner: str, heir: str) -> list[str]:
    """What will happen, for the person who has to decide."""
    cluster = facts.cluster
    what = ", ".join((*cluster.volumes, *cluster.addresses))
    word = facts.record.word(heir)
    ready = f"ready, heard {words.age(word.said_at, facts.now)} ago" if word else "not known to be ready"
    return [
        f"{owner} gives up mastership; its services stop and its volumes are unmounted.",
        f"{heir or 'Whoever keepalived elects'} ({ready}) gets {what}.",
    ]


def ask(session: Session, cluster: str, owner: str, heir: str, anyway: bool) -> Callable[[], str]:
    """Sends the document; gives a question for the owner's refusal, "" as long as there is none."""
    ssm = session.client("ssm")
    arguments = {"action": "handover", "cluster": cluster, "ready": heir, "anyway": str(anyway).lower()}
    sent = ssm.send_command(
        DocumentName=session.names.people_document,
        InstanceIds=[owner],
        TimeoutSeconds=DELIVERY_SECONDS,
        Comment=f"baton handover of {cluster}",
        Parameters={name: [value] for name, value in arguments.items()},
    )
    command_id = sent["Command"]["CommandId"]
    return lambda: _refusal(ssm, command_id, owner)


def _refusal(ssm: Any, command_id: str, node: str) -> str:
    try:
        got = ssm.get_command_invocation(CommandId=command_id, InstanceId=node)
    except ssm.exceptions.ClientError as error:
        if code(error) == "InvocationDoesNotExist":  # normal right after it was sent
            return ""
        raise
    if got["Status"] not in ENDED or got["Status"] == "Success":
        return ""
    text = _text(got.get("StandardOutputContent", "")) or got.get("StandardErrorContent", "").strip()
    return f"{node} did not hand over ({got['Status']}): {text or 'it gave no reason'}"


def _text(stdout: str) -> str:
    lines = stdout.strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return ""
    return str(answer.get("text", "")) if isinstance(answer, dict) else ""


def follow(
    session: Session, first: Record, refusal: Callable[[], str], wait: float, say: Callable[[str], None]
) -> Record:
    """Says what happens until another node has settled, the owner refuses, or the time is over."""
    begin, last = time.time(), first
    while time.time() < begin + wait:
        time.sleep(LOOK_SECONDS)
        record = session.store.load(first.cluster)
        for news in between(last, record):
            say(f"{time.time() - begin:6.1f} s  {news.text}")
        last = record
        if record.epoch > first.epoch and record.settled and record.owner != first.owner:
            break
        if record.epoch == first.epoch and (text := refusal()):
            raise Trouble(text)
    return last
