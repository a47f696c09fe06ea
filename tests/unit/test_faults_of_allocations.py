"""Faults that befall allocations, in whole drills on fakes."""

import pytest

from obsctl.drills import faults
from obsctl.drills.plan import experiment
from obsctl.errors import Conflict, ObsctlError
from tests.drill_world import JOB, JOB_ID, SERVICE, DrillWorld

KINDS = ("kill", "restart", "stop-alloc", "freeze", "kill-loop")
TWO_TASKS = {**JOB["TaskGroups"][0], "Tasks": [{"Name": "app"}, {"Name": "helper"}]}


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def load(world, fault, **written):
    world.experiment = experiment.load(fault, SERVICE, written)


def register(world, **group):
    world.nomad.register_job({**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], **group}]})


def events(world):
    return [
        event["Type"] for alloc in world.nomad.job_allocations(JOB_ID) for event in alloc["TaskStates"]["app"]["Events"]
    ]


@pytest.mark.parametrize("fault", ["kill", "restart", "stop-alloc"])
def test_one_instance_that_comes_back_at_once_pages_nobody(world, fault):
    load(world, fault)
    verdict = world.run()
    assert verdict.outcome == "PROVEN"
    assert "ServiceDown response stayed away" in verdict.reason
    assert world.data("reverted")["state"] == "already"
    assert world.nomad.job(JOB_ID)["Version"] == 0
    assert world.entries() == []


def test_what_stands_still_pages_and_goes_on_afterwards(world):
    load(world, "freeze")
    assert world.run().outcome == "PROVEN"
    assert world.data("reverted") | {"state": "reverted", "detail": "let 1 of 1 go on"} == world.data("reverted")
    assert world.consul.answers(SERVICE)


def test_the_effect_is_when_it_happened_and_not_when_it_was_seen(world):
    load(world, "freeze")
    world.run()
    injected = world.data("injected")
    assert injected["effect_at"] == pytest.approx(injected["requested_at"], abs=0.5)


def test_a_crash_loop_goes_on_until_the_alert_has_come(world):
    load(world, "kill-loop")
    world.alerts.rule = lambda is_up: "Terminated" in events(world) and not world.kinds().count("reverting")
    assert world.run().outcome == "PROVEN"
    assert events(world).count("Terminated") > 5


def test_when_obsctl_dies_the_crash_loop_ends(world):
    load(world, "kill-loop")

    def die(_, name):
        if name == "journal.injected":
            world.on_step = lambda *_: None
            raise SystemExit

    world.on_step = die
    drill = world.drill()
    with pytest.raises(SystemExit):
        drill.run()
    world.pass_time(5)
    before = events(world).count("Terminated")
    world.pass_time(30)
    assert events(world).count("Terminated") == before


def test_the_warden_lets_what_is_frozen_go_on(world):
    load(world, "freeze")
    fault, found = faults.named("freeze"), world.target()
    recipe = world.write(fault="freeze", data=found.prepared.data)
    fault.inject(world.cluster, recipe)
    assert not world.consul.answers(SERVICE)
    world.lease.lost.set()
    world.consul.destroy_session(world.lease.session)
    world.pass_time(10)
    assert world.consul.answers(SERVICE)
    assert world.entry().outcome["healthy"]


def test_a_failed_allocation_is_placed_at_once(world):
    load(world, "kill")
    recipe = world.write(fault="kill", data=world.target().prepared.data)
    world.nomad.report_allocations(JOB_ID, ClientStatus="failed")
    assert faults.named("kill").revert(world.cluster, recipe).state == "reverted"
    assert faults.named("kill").is_gone(world.cluster, recipe)
    assert faults.named("kill").revert(world.cluster, recipe).state == "already"


@pytest.mark.parametrize("fault", KINDS)
@pytest.mark.parametrize("how", ["stopped", "removed"])
def test_a_job_that_somebody_ended_meanwhile_stays_as_it_is(world, fault, how):
    load(world, fault)
    recipe = world.write(fault=fault, data=world.target().prepared.data)
    world.nomad.stop_job(JOB_ID)
    if how == "removed":
        world.nomad.collect_garbage(JOB_ID)
    assert faults.named(fault).revert(world.cluster, recipe).state == "superseded"


@pytest.mark.parametrize(("written", "struck"), [("1", 1), ("2", 2), ("3", 2), ("all", 2)])
def test_as_many_instances_as_are_asked_for(world, written, struck):
    register(world, Count=2)
    load(world, "kill", instances=written)
    assert len(world.target().prepared.data["allocations"]) == struck


def test_the_task_that_serves_must_be_plain_or_named(world):
    register(world, **TWO_TASKS)
    load(world, "kill")
    with pytest.raises(ObsctlError, match="has several tasks") as failure:
        world.target()
    assert "--task, one of app, helper" in failure.value.hint
    load(world, "kill", task="helper")
    assert world.target().prepared.data["task"] == "helper"
    load(world, "kill", task="other")
    with pytest.raises(ObsctlError, match="has no task other"):
        world.target()


def test_a_sidecar_is_not_what_serves(world):
    helper = {"Name": "helper", "Lifecycle": {"Hook": "prestart", "Sidecar": True}}
    register(world, Tasks=[{"Name": "app"}, helper])
    load(world, "kill")
    assert world.target().prepared.data["task"] == "app"


def test_nothing_is_struck_where_nothing_runs(world):
    load(world, "kill")
    recipe = world.recipe(fault="kill", data={"task": "app", "allocations": {}})
    with pytest.raises(Conflict, match="runs any more"):
        faults.named("kill").inject(world.cluster, recipe)


@pytest.mark.parametrize("fault", KINDS)
def test_an_event_of_before_is_no_effect(world, fault):
    load(world, fault)
    world.nomad.restart_allocation(world.nomad.job_allocations(JOB_ID)[0]["ID"], "app")
    recipe = world.write(fault=fault, data=world.target().prepared.data)
    assert faults.named(fault).effect_at(world.world, recipe) is None


@pytest.mark.parametrize("fault", KINDS)
def test_what_to_type_by_hand_names_the_job(world, fault):
    load(world, fault)
    recipe = world.recipe(fault=fault, data=world.target().prepared.data)
    assert f"nomad job eval -force-reschedule {JOB_ID}" in faults.named(fault).by_hand(recipe)


@pytest.mark.parametrize("fault", ["kill", "kill-loop"])
def test_what_nomad_would_give_up_for_good_is_not_killed(world, fault):
    register(world, RestartPolicy={"Mode": "fail"}, ReschedulePolicy={"Attempts": 0, "Unlimited": False})
    load(world, fault)
    with pytest.raises(ObsctlError, match="has no rescheduling"):
        world.target()


def test_many_signals_do_not_hide_that_the_task_runs(world):
    """Nomad keeps the last ten events of a task."""
    load(world, "freeze")
    recipe = world.write(fault="freeze", data=world.target().prepared.data)
    events = [{"Type": "Signaling", "Time": 1, "Details": {"signal": "SIGCONT"}}] * 10
    world.nomad.report_allocations(JOB_ID, TaskStates={"app": {"State": "running", "Events": events}})
    assert faults.named("freeze").is_gone(world.cluster, recipe)
    events = [*events[1:], {"Type": "Terminated", "Time": 2}]
    world.nomad.report_allocations(JOB_ID, TaskStates={"app": {"State": "running", "Events": events}})
    assert not faults.named("freeze").is_gone(world.cluster, recipe)
