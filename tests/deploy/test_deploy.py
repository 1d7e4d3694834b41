"""`./baton deploy` and `destroy` against the embedded AWS: states of the account, not calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import deploy as cli_deploy
from cli.destroy import command as destroy_command
from infra import forgery
from infra.account import Account, Trouble, connect
from infra.functions import Functions
from infra.names import FUNCTIONS, Names
from infra.steps import walk
from lab.cloud import Cloud
from tests.deploy.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Tried to parse AWS")]
"""The lab's CloudFormation skips alarms and resource policies, and says so."""


def deploy(project: Project, account: Account, stage: str, **options: Any) -> tuple[int, str]:
    """Deploy; how many steps had something to do, and what was said."""
    said: list[str] = []
    changed = walk(project.steps(account, stage), said.append, **options)
    return changed, "\n".join(said)


def belongings(account: Account, stage: str) -> set[str]:
    """Everything in the account that carries the stage's prefix, by kind and name."""
    mark = f"baton-{stage}"
    client = account.client
    names = {
        "table": client("dynamodb").list_tables()["TableNames"],
        "queue": client("sqs").list_queues().get("QueueUrls", []),
        "topic": [t["TopicArn"] for t in client("sns").list_topics()["Topics"]],
        "role": [r["RoleName"] for r in client("iam").list_roles()["Roles"]],
        "profile": [
            p["InstanceProfileName"] for p in client("iam").list_instance_profiles()["InstanceProfiles"]
        ],
        "function": [f["FunctionName"] for f in client("lambda").list_functions()["Functions"]],
        "rule": [r["Name"] for r in client("events").list_rules()["Rules"]],
        "document": [d["Name"] for d in client("ssm").list_documents()["DocumentIdentifiers"]],
        "logs": [g["logGroupName"] for g in client("logs").describe_log_groups()["logGroups"]],
        "bus": statements(account),
    }
    return {f"{kind} {name}" for kind, found in names.items() for name in found if mark in name}


def statements(account: Account) -> list[str]:
    """The statements of the default bus's policy."""
    policy = account.client("events").describe_event_bus().get("Policy") or '{"Statement": []}'
    return [statement["Sid"] for statement in json.loads(policy)["Statement"]]


def targets(account: Account, stage: str, function: str) -> list[dict[str, Any]]:
    """The targets of a function's rule."""
    found = account.client("events").list_targets_by_rule(Rule=Names(stage).rule(function))
    return list(found["Targets"])


def test_dry_run_says_what_would_change_and_changes_nothing(project: Project, account: Account) -> None:
    """A dry run of a first deployment names every part and makes none."""
    changed, said = deploy(project, account, "dry", dry_run=True)
    assert changed == 3
    assert "create Table (AWS::DynamoDB::Table)" in said
    assert "create baton-dry-on_word, its role and its rule" in said
    assert belongings(account, "dry") == set()


def test_a_second_deployment_has_nothing_to_do(project: Project, account: Account) -> None:
    """Deploying twice: the second time nothing is different, and nothing is done."""
    assert deploy(project, account, "twice")[0] == 3
    before = belongings(account, "twice")
    changed, said = deploy(project, account, "twice")
    assert (changed, belongings(account, "twice")) == (0, before)
    assert said.count("nothing to do") == 3
    for function in FUNCTIONS:
        assert f"function baton-twice-{function}" in before
        assert f"role baton-twice-{function}" in before


def test_wiring_is_put_back_after_each_deployment(project: Project, account: Account) -> None:
    """Chalice wipes dead letters and retries of a rule's target; they are back afterwards."""
    deploy(project, account, "wired")
    first = {f: targets(account, "wired", f) for f in FUNCTIONS}
    (project.checkout / "app.py").write_text((project.checkout / "app.py").read_text() + "\n#\n")
    changed, said = deploy(project, account, "wired")
    assert "update baton-wired-sweep" in said
    assert changed == 2
    assert {f: targets(account, "wired", f) for f in FUNCTIONS} == first
    for function in FUNCTIONS:
        (target,) = first[function]
        assert target["DeadLetterConfig"]["Arn"].endswith(":baton-wired-dead-letters")
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 60
        settings = account.client("lambda").get_function_event_invoke_config(
            FunctionName=f"baton-wired-{function}"
        )
        assert settings["MaximumRetryAttempts"] == 0
        assert settings["DestinationConfig"]["OnFailure"]["Destination"].endswith("dead-letters")


def test_functions_know_their_own_stage(project: Project, account: Account) -> None:
    """Environment, rule and policy of a function name its stage, role id and account."""
    deploy(project, account, "env")
    outputs = project.stack(account, "env").outputs()
    assert outputs is not None
    found = account.client("lambda").get_function_configuration(FunctionName="baton-env-on_word")
    variables = found["Environment"]["Variables"]
    assert variables["BATON_TABLE"] == "baton-env"
    assert variables["BATON_NODE_ROLE_IDS"] == outputs.node_role_id
    assert variables["BATON_ACCOUNT"] == account.id
    rule = account.client("events").describe_rule(Name="baton-env-on_word-event")
    assert json.loads(rule["EventPattern"]) == {"source": [{"prefix": "baton.env.node/"}]}
    role = account.client("iam").get_role_policy(RoleName="baton-env-on_word", PolicyName="baton-env-on_word")
    assert f"arn:aws:dynamodb:{account.region}:{account.id}:table/baton-env" in str(role)
    assert "baton-lab" not in str(role)


def test_two_stages_do_not_touch_each_other(project: Project, account: Account) -> None:
    """Deploying, changing and removing one stage leaves each part of the other as it was."""
    deploy(project, account, "one")
    before = belongings(account, "one")
    wiring = {f: targets(account, "one", f) for f in FUNCTIONS}
    deploy(project, account, "two")
    assert belongings(account, "two") == {b.replace("baton-one", "baton-two") for b in before}
    destroy(project, account, "two")
    assert belongings(account, "two") == set()
    assert belongings(account, "one") == before
    assert {f: targets(account, "one", f) for f in FUNCTIONS} == wiring
    assert deploy(project, account, "one")[0] == 0


def test_a_deployment_that_broke_off_goes_on(project: Project, account: Account) -> None:
    """The stack is made and Chalice fails: the next run makes the rest, and only that."""
    good = (project.checkout / "app.py").read_text()
    (project.checkout / "app.py").write_text("this is no Python")
    with pytest.raises(Trouble, match="run the same command again"):
        deploy(project, account, "broken")
    (project.checkout / "app.py").write_text(good)
    changed, said = deploy(project, account, "broken")
    assert changed == 2
    assert "support stack: nothing to do" in said
    assert deploy(project, account, "broken")[0] == 0


def test_a_rule_that_somebody_disabled_is_put_back(project: Project, account: Account) -> None:
    """Deploying enables a disabled rule and restores a target that was taken away."""
    deploy(project, account, "rules")
    events = account.client("events")
    events.disable_rule(Name="baton-rules-sweep-event")
    events.remove_targets(Rule="baton-rules-on_word-event", Ids=["1"])
    _, said = deploy(project, account, "rules")
    assert "put the rule baton-rules-sweep-event back" in said
    assert events.describe_rule(Name="baton-rules-sweep-event")["State"] == "ENABLED"
    assert len(targets(account, "rules", "on_word")) == 1
    assert deploy(project, account, "rules")[0] == 0


def test_a_half_made_stack_is_made_anew(project: Project, account: Account) -> None:
    """A stack whose creation was rolled back can only be removed: that is done, and said."""
    deploy(project, account, "half")
    state_of_stack(account, "half", "ROLLBACK_COMPLETE")
    _, said = deploy(project, account, "half", dry_run=True)
    assert "remove the half-made stack (ROLLBACK_COMPLETE)" in said
    deploy(project, account, "half")
    assert project.stack(account, "half").outputs() is not None
    assert "table baton-half" in belongings(account, "half")


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"])
def test_a_stack_in_trouble_is_left_alone(project: Project, account: Account, status: str) -> None:
    """One sentence says what is the matter and what to do; nothing is changed."""
    stage = f"s{status[7:9].lower()}"
    project.stack(account, stage).carry_out(print)
    state_of_stack(account, stage, status)
    before = belongings(account, stage)
    with pytest.raises(Trouble, match=f"is {status}.* Nothing was changed"):
        deploy(project, account, stage)
    assert belongings(account, stage) == before


def state_of_stack(account: Account, stage: str, status: str) -> None:
    """Let CloudFormation say this of the stage's stack."""
    from moto.cloudformation.models import cloudformation_backends

    stacks = cloudformation_backends[account.id][account.region].stacks
    (stack,) = [s for s in stacks.values() if s.name == Names(stage).stack]
    stack.status = status


def test_destroy_leaves_nothing_but_the_data_volumes(project: Project, account: Account) -> None:
    """After `destroy` nothing carries the stage's name but volumes, which are as they were."""
    deploy(project, account, "gone")
    ec2 = account.client("ec2")
    tags = [{"Key": "baton:stage", "Value": "gone"}]
    volume = ec2.create_volume(
        AvailabilityZone=f"{account.region}a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )["VolumeId"]
    destroy(project, account, "gone")
    assert belongings(account, "gone") == set()
    (left,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (left["State"], left["Tags"]) == ("available", tags)
    destroy(project, account, "gone")


def destroy(project: Project, account: Account, stage: str) -> None:
    """What `./baton destroy` does after it has asked."""
    stack = project.stack(account, stage)
    names = Names(stage)
    Functions(account, names, stack.outputs, project.checkout, project.state).remove(print)
    if stack.exists():
        stack.remove(print)


@pytest.fixture
def baton_deploy(project: Project, account: Account, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Result]:
    """`./baton deploy` of the small checkout, with no patience for AWS's caches."""
    monkeypatch.setattr(cli_deploy, "steps", lambda account, names, _: project.steps(account, names.stage))
    monkeypatch.setattr(cli_deploy, "CHECKOUT", project.checkout)
    monkeypatch.setattr(forgery, "SPREAD_SECONDS", 0.0)
    return lambda: CliRunner().invoke(cli_deploy.command, ["--stage", "forge"])


def test_a_deployment_ends_by_trying_to_speak_in_a_nodes_name(
    baton_deploy: Callable[[], Result], account: Account, cloud: Cloud
) -> None:
    """Refused: all is well. Taken: one clear sentence and an exit status, on every run until mended.
    With credentials that may send nothing it says that nothing was tried."""
    first = baton_deploy()
    assert first.exit_code == 0, first.output
    assert "An event in a node's name was refused" in first.output
    cloud.faults.deny("PutEvents")
    unable = baton_deploy()
    cloud.faults.clear()
    assert (unable.exit_code, "Not tried" in unable.output) == (0, True)
    account.client("events").remove_permission(StatementId="baton-forge-nodes-only")
    for _ in range(2):
        taken = baton_deploy()
        assert taken.exit_code == 1
        assert taken.stderr.startswith(
            "baton: Stage forge is deployed, but EventBridge takes events in a node's name"
        )
        assert len(taken.stderr.strip().splitlines()) == 1


def test_a_stage_is_not_made_in_a_second_region(project: Project, account: Account) -> None:
    """Roles are one for all regions: one sentence names both, and nothing is changed in either."""
    deploy(project, account, "region")
    before = belongings(account, "region")
    other = connect("eu-west-3")
    for dry in (True, False):
        with pytest.raises(Trouble, match=f"is in region {account.region} .* this is eu-west-3. Nothing was"):
            deploy(project, other, "region", dry_run=dry)
    assert belongings(other, "region") == {b for b in before if b.startswith(("role", "profile"))}
    assert belongings(account, "region") == before


def test_destroying_in_the_wrong_region_changes_nothing(
    project: Project, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The roles of the stage in its own region are not removed by name; and once more where all is gone."""
    deploy(project, account, "wrong")
    definition = Names("wrong").definition("orders")
    account.client("ssm").put_parameter(Name=definition, Value="{}", Type="String")
    before = belongings(account, "wrong")
    monkeypatch.setattr(cli_deploy, "CHECKOUT", project.checkout)

    def baton_destroy(region: str) -> Result:
        return CliRunner().invoke(destroy_command, ["--stage", "wrong", "--yes", "--region", region])

    elsewhere = baton_destroy("eu-west-3")
    assert elsewhere.exit_code == 1
    assert elsewhere.stderr.startswith("baton: There is nothing of stage wrong in account")
    assert "region eu-west-3. Nothing was changed." in elsewhere.stderr
    assert belongings(account, "wrong") == before
    assert baton_destroy(account.region).exit_code == 0
    assert belongings(account, "wrong") == set()
    found = account.client("ssm").get_parameters_by_path(Path="/baton/wrong", Recursive=True)
    assert found["Parameters"] == []
    assert baton_destroy(account.region).exit_code == 1
