"""`./baton status` says what is, and what a person has to do about it."""

from __future__ import annotations

import json
import time

from chalicelib.model import Challenge, Obstacle, Reason, Vrrp
from tests.cli.conftest import Stage


def test_a_settled_cluster_in_full(stage: Stage) -> None:
    """Owner, epoch, each node's last word, and where things are by EC2's word."""
    stage.settle(stage.a, 7)
    result = stage.run("status", "orders")
    assert result.exit_code == 0, result.output
    assert f"epoch 7, owned by {stage.a}" in result.stdout
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert rows[stage.a][1:4] == ["owner", "MASTER", "254"]
    assert rows[stage.b][1:3] == ["BACKUP", "253"]
    assert rows[stage.volume][1:] == [stage.a, "attached"]


def test_a_blocked_cluster_says_what_would_clear_it(stage: Stage) -> None:
    """The reason, since when, the remedy; and the exit status tells a script."""
    stage.settle(stage.a, 7)
    stage.record(obstacle=Obstacle(Reason.NO_FENCE, f"{stage.a} is silent", time.time() - 300))
    result = stage.run("status", "orders")
    assert result.exit_code == 1
    assert "blocked for 5 min" in result.stdout
    assert f"the policy allows no fence: {stage.a} is silent" in result.stdout
    assert "confirm-fenced" in result.stdout


def standing(stage: Stage) -> list[str]:
    """The row of the cluster in the list of all."""
    (row,) = [line for line in stage.run("status").stdout.splitlines() if line.startswith("orders")]
    return row.split()


def test_a_cluster_that_is_new_moving_or_paused(stage: Stage) -> None:
    """Each has its own word, says why, and what ends it; none is an alarm for a script."""
    assert standing(stage)[1] == "new"
    stage.settle(stage.a, 7)
    assert standing(stage)[1:4] == ["settled", "7", stage.a]
    stage.run("pause", "orders")
    assert standing(stage)[1] == "paused"
    assert "./baton resume" in stage.run("status", "orders").stdout
    stage.run("resume", "orders")
    marks = (("granted", time.time() - 9), ("released", time.time() - 8))
    stage.record(epoch=8, owner=stage.b, settled=False, because="b claims", marks=marks)
    assert standing(stage)[1:4] == ["moving", "8", stage.b]
    moving = stage.run("status", "orders")
    assert "b claims; so far: released" in moving.stdout
    assert "the sweep within a minute" in moving.stdout
    assert moving.exit_code == 0


def test_json_holds_the_same(stage: Stage) -> None:
    """Programs read the same facts."""
    stage.settle(stage.a, 7)
    told = json.loads(stage.run("status", "--json").stdout)
    (cluster,) = told["clusters"]
    assert (cluster["cluster"], cluster["standing"], cluster["owner"]) == ("orders", "settled", stage.a)
    assert [r["at"] for r in cluster["resources"] if r["kind"] == "volume"] == [stage.a]
    assert told["broken"] == {}


def test_a_contested_cluster(stage: Stage) -> None:
    """Both say MASTER, and the owner has been asked."""
    stage.settle(stage.a, 7)
    claim = stage.say(stage.b, Vrrp.MASTER)
    now = time.time()
    stage.record(challenge=Challenge(stage.a, stage.b, 8, now, 1, claim.sequence, now + 5))
    assert "contested" in stage.run("status").stdout


def test_a_broken_definition_hides_no_other(stage: Stage) -> None:
    """The broken one is named with its defect; the others are shown as ever."""
    stage.settle(stage.a, 7)
    stage.define("broken", {"version": 1})
    result = stage.run("status")
    assert result.exit_code == 1
    assert "broken" in result.stdout
    assert stage.a in result.stdout


def test_a_cluster_that_nobody_knows(stage: Stage) -> None:
    """One sentence that names the clusters that there are."""
    result = stage.run("status", "payments")
    assert result.exit_code == 2
    assert "There is no cluster 'payments' in stage test-" in result.stderr
    assert "there are: orders" in result.stderr
