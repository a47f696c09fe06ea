"""What a plan says, before anything is changed."""

from __future__ import annotations

import json

import pytest

from obsctl.errors import ObsctlError
from obsctl.stack.plan import Action, Step
from tests.world import DEMO, SECRET, World, config, reasons

SMALL = config()
OFF = {"enabled": False}
WITH_SECRETS = config(
    consul={"tokens": {"prometheus": "env:CONSUL"}},
    alerting={"receivers": [{"name": "chat", "slack": {"api_url": "env:SLACK", "channel": "#a"}}]},
)


@pytest.fixture
def world() -> World:
    return World()


def test_on_an_empty_cluster_everything_is_created(world: World) -> None:
    made = world.plan(DEMO)
    assert {change.action for change in made.changes} == {Action.CREATE}
    assert made.counts() == {"create": 16, "update": 0, "stop": 0, "none": 0}


def test_the_order_is_variables_content_then_jobs_each_after_what_it_needs(world: World) -> None:
    made = world.plan(WITH_SECRETS)
    kinds = [change.kind for change in made.changes]
    assert kinds == sorted(kinds, key=["variable", "content", "job"].index)
    jobs = [change.name for change in made.changes if change.step is Step.JOBS]
    assert jobs == ["obs-alert-sink", "obs-warden", "obs-prometheus", "obs-alertmanager"]


def test_rules_that_watch_the_jobs_come_after_them_and_go_before_anything_is_stopped(world: World) -> None:
    """Before, they would tell that what a first deploy is only just starting does not run."""
    watch = "obsctl/obs/rules/availability"
    first = [change.name for change in world.plan(DEMO).changes]
    assert first[-1] == watch
    world.deploy(DEMO)
    without = config(demo={"enabled": True, "traffic": OFF, "hello-service": OFF}, timing="fast", driver="raw_exec")
    fewer = [change.name for change in world.plan(without).effective]
    assert fewer.index(watch) < fewer.index("obs-hello-service")


def test_after_a_deploy_there_is_nothing_to_do(world: World) -> None:
    world.deploy(WITH_SECRETS)
    assert world.plan(WITH_SECRETS).effective == ()


def test_a_job_whose_settings_changed_is_updated_alone(world: World) -> None:
    world.deploy(SMALL)
    bigger = config(components={"prometheus": {"resources": {"memory": 4096}}})
    assert reasons(world.plan(bigger)) == {"obs-prometheus": "update: the configuration changed"}


def test_a_changed_rule_touches_no_job(world: World) -> None:
    world.deploy(SMALL)
    changed = config(alerting={"rules": {"InstanceDown": {"severity": "info"}}})
    assert reasons(world.plan(changed)) == {"obsctl/obs/rules/stack": "update: the value differs"}


def test_content_that_is_no_longer_wanted_is_taken_out_last(world: World) -> None:
    world.deploy(DEMO)
    made = world.plan(config(timing="fast", driver="raw_exec"))
    assert reasons(made)["obsctl/obs/rules/demo"] == "stop: no longer in the config"
    assert [change.action for change in made.effective][-4:] == [Action.STOP] * 4


def test_a_seed_is_written_once_and_then_left_to_its_owner(world: World) -> None:
    world.deploy(DEMO)
    world.consul.put("minion_phrases", b'["mine"]')
    assert world.plan(DEMO).effective == ()
    world.consul.delete("minion_phrases")
    assert reasons(world.plan(DEMO)) == {"minion_phrases": "create: does not exist"}


def test_a_changed_secret_is_an_update_without_its_value(world: World) -> None:
    world.deploy(WITH_SECRETS)
    path = "nomad/jobs/obs-alertmanager"
    held = world.nomad.variable(path)
    assert held is not None
    world.nomad.put_variable(path, {**held.items, "chat_slack_api_url": "old"})
    made = world.plan(WITH_SECRETS)
    [change] = made.effective
    assert (change.name, change.reason, change.details) == (
        path,
        "a value differs",
        ("chat_slack_api_url", "delivery_key"),
    )
    assert change.digest == "", "a hash of a secret can be guessed at"


def test_a_job_that_somebody_stopped_is_started_again(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.stop_job("obs-warden")
    assert reasons(world.plan(SMALL)) == {"obs-warden": "update: it was stopped"}


def test_a_job_that_somebody_changed_is_put_back_and_says_what_differs(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.register_job({**world.nomad.job("obs-warden"), "Priority": 10})
    made = world.plan(SMALL)
    assert reasons(made) == {"obs-warden": "update: it was changed outside obsctl"}
    assert made.effective[0].details == ("Priority: 10 → None",)


def test_a_failed_deployment_is_tried_again(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.exits["obs-warden"] = "no such file"
    current = world.nomad.job("obs-warden")
    world.nomad.register_job({**current, "Meta": current["Meta"] | {"obsctl.retry": "7"}})
    assert reasons(world.plan(SMALL)) == {"obs-warden": "update: its last deployment failed"}


def test_one_that_goes_on_after_a_failure_is_tried_again_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nomad waits longer and longer between its own attempts, and what was wrong may be mended by now."""
    world.deploy(SMALL)
    running = {"JobSpecModifyIndex": 0, "Status": "running", "TaskGroups": {"warden": {"UnhealthyAllocs": 2}}}
    monkeypatch.setattr(world.nomad, "job_deployment", lambda job_id: running if job_id == "obs-warden" else None)
    assert reasons(world.plan(SMALL)) == {"obs-warden": "update: its last deployment failed"}


def test_a_job_whose_task_waits_in_a_template_is_placed_anew(world: World) -> None:
    """It keeps the Consul token that it began with, whatever rights others have by now."""
    world.deploy(SMALL)
    waits = {"State": "pending", "Events": [{"Type": "Template", "DisplayMessage": "Missing: kv.block(obsctl/obs/x)"}]}
    world.nomad.report_allocations("obs-warden", ClientStatus="pending", TaskStates={"warden": waits})
    assert reasons(world.plan(SMALL)) == {"obs-warden": "update: a task of it waits in a template"}
    before = world.nomad.job("obs-warden")
    world.deploy(SMALL)
    assert world.nomad.job("obs-warden")["Meta"]["obsctl.retry"] == str(before["JobModifyIndex"])


def test_a_job_whose_deployment_has_not_ended_is_waited_for(world: World) -> None:
    world.nomad.unplaceable["obs-warden"] = {"warden": {"NodesEvaluated": 1}}
    with pytest.raises(ObsctlError, match="cannot be placed"):
        world.deploy(SMALL)
    unfinished = {name: reason for name, reason in reasons(world.plan(SMALL)).items() if name.startswith("obs-")}
    assert unfinished == {"obs-warden": "update: its last deployment has not ended"}


def test_a_job_that_cannot_be_placed_says_so_in_the_plan(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.unplaceable["obs-prometheus"] = {
        "prometheus": {"NodesEvaluated": 1, "DimensionExhausted": {"memory": 1}}
    }
    [change] = world.plan(config(components={"prometheus": {"retention": "1d"}})).effective
    assert change.details[-1] == "group prometheus: memory exhausted on 1 node"


@pytest.mark.parametrize(("meta", "owner"), [({}, "not made by obsctl"), ({"obsctl.stack": "other"}, "of stack other")])
def test_a_job_of_somebody_else_is_never_taken_over(world: World, meta: dict[str, str], owner: str) -> None:
    world.nomad.register_job({"ID": "obs-warden", "Name": "obs-warden", "Meta": meta})
    with pytest.raises(ObsctlError, match=rf"obs-warden \({owner}\)") as caught:
        world.plan(SMALL)
    assert "stack:" in caught.value.hint


def test_jobs_of_other_stacks_are_not_seen(world: World) -> None:
    world.deploy(config(stack="other"))
    world.deploy(SMALL)
    assert all("other" not in change.name for change in world.plan(SMALL).changes)


def test_only_some_components_leave_what_is_others_alone_and_stop_nothing(world: World) -> None:
    world.deploy(DEMO)
    world.consul.put("obsctl/obs/rules/old", b"- name: old")
    changed = config(timing="relaxed", consul=WITH_SECRETS.consul, alerting=WITH_SECRETS.alerting)
    made = world.plan(changed, "prometheus")
    assert [change.name for change in made.effective if change.kind == "job"] == ["obs-prometheus"]
    assert [change.name for change in made.effective if change.kind == "variable"] == ["nomad/jobs/obs-prometheus"]
    content = {change.name for change in made.effective if change.kind == "content"}
    assert content == {f"obsctl/obs/{part}" for part in ("config/prometheus.yml", "rules/stack")}
    assert made.counts()["stop"] == 0


def test_another_plan_has_another_checksum(world: World) -> None:
    assert world.plan(SMALL).checksum() != world.plan(config(timing="fast")).checksum()


def test_no_secret_is_in_it(world: World) -> None:
    desired, observed = world.seen(WITH_SECRETS)
    assert len(desired.variables) == 4
    assert SECRET not in repr(desired) + repr(observed) + json.dumps(world.plan(WITH_SECRETS).to_dict())
