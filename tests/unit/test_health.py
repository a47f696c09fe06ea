"""The gate after a job: what it waits for, when it gives up, and what it says then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from obsctl.errors import NotFound, ObsctlError, Unreachable
from obsctl.model import Json
from obsctl.stack.health import PLACEMENT_GRACE, Unhealthy, wait_healthy
from tests.world import World

JOB = {
    "ID": "obs-web",
    "Name": "obs-web",
    "Type": "service",
    "Meta": {},
    "TaskGroups": [{"Name": "web", "Count": 1, "Tasks": [{"Name": "web"}], "Services": [{"Name": "web"}]}],
}
WAITING = {"web": {"NodesEvaluated": 1}}  # not placed; nothing is said before PLACEMENT_GRACE


@pytest.fixture
def world() -> World:
    return World()


def gate(world: World, *, timeout: float = 60, check: Callable[[], None] = lambda: None, job: Json = JOB) -> None:
    eval_id = world.nomad.register_job(job)
    wait_healthy(world.tools(timeout=timeout, check=check), "obs-web", eval_id)


def instance(world: World, but: str = "") -> str:
    return next(entry["Service"]["ID"] for entry in world.consul.health("web") if entry["Service"]["ID"] != but)


def test_a_healthy_job_passes_at_once(world: World) -> None:
    gate(world)
    assert world.clock.monotonic() == 0


def test_it_waits_for_the_check_in_consul(world: World) -> None:
    world.nomad.register_job(JOB)
    name = instance(world)
    world.consul.register("web", instance=name, status="critical")
    world.clock.after(7, lambda: world.consul.register("web", instance=name))
    gate(world)
    assert world.clock.monotonic() == pytest.approx(7, abs=0.3)


def test_a_service_of_that_name_that_is_not_ours_says_nothing(world: World) -> None:
    world.consul.register("web", instance="of-another-stack", status="critical")
    gate(world)


def test_another_ones_healthy_service_does_not_stand_in_for_ours(world: World) -> None:
    world.consul.register("web", instance="of-another-stack")
    world.nomad.register_job(JOB)
    world.consul.deregister(instance(world, but="of-another-stack"))
    with pytest.raises(Unhealthy, match="obs-web did not pass its Consul checks within 60 s"):
        gate(world)


def test_a_failed_task_is_told_with_its_events_and_last_words(world: World) -> None:
    world.nomad.exits["obs-web"] = "\n".join(f"line {number}" for number in range(20))
    with pytest.raises(Unhealthy) as caught:
        gate(world)
    first, allocation, *rest = caught.value.message.splitlines()
    assert first == "obs-web: the deployment failed (Failed due to unhealthy allocations)"
    assert allocation.strip().endswith("on node-1: failed")
    assert "    task web: Terminated: Exit Code: 1" in rest
    assert [line.strip() for line in rest[-8:]] == [f"web | line {number}" for number in range(12, 20)]
    assert "nomad job status obs-web" in caught.value.hint


def test_a_log_that_cannot_be_read_does_not_hide_the_failure(world: World) -> None:
    world.nomad.exits["obs-web"] = "gone"
    world.nomad.failures["task_logs"] = NotFound("no such log", hint="")
    with pytest.raises(Unhealthy, match=r"(?s)the deployment failed.*its log cannot be read \(no such log\)"):
        gate(world)


def test_what_cannot_be_placed_gets_some_grace_and_then_says_why(world: World) -> None:
    world.nomad.unplaceable["obs-web"] = {"web": {"NodesEvaluated": 1, "DimensionExhausted": {"memory": 1}}}
    with pytest.raises(Unhealthy, match=r"cannot be placed: group web: memory exhausted on 1 node\n.*no allocation"):
        gate(world)
    assert PLACEMENT_GRACE < world.clock.monotonic() < PLACEMENT_GRACE + 1


@pytest.mark.parametrize(("blocked", "said"), [(True, "distinct_hosts"), (False, "did not become healthy within 30 s")])
def test_one_of_several_that_no_node_can_take_is_enough_to_fail(world: World, blocked: bool, said: str) -> None:
    """While Nomad waits for room; once there was room, what it said before does not matter."""
    job = {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": 3}]}
    two = [
        {"ID": name, "JobVersion": 0, "ClientStatus": "running", "CreateIndex": 1, "TaskStates": {}} for name in "ab"
    ]
    world.nomad.unplaceable["obs-web"] = {"web": {"NodesEvaluated": 1, "ConstraintFiltered": {"distinct_hosts": 1}}}
    world.nomad.job_allocations = lambda job_id: two  # type: ignore[method-assign]
    waiting = [{"Status": "blocked"}] if blocked else []
    world.nomad.job_evaluations = lambda job_id: waiting  # type: ignore[method-assign]
    with pytest.raises(Unhealthy, match=said):
        gate(world, job=job, timeout=30)


def test_the_deadline_is_told_with_what_was_awaited(world: World) -> None:
    world.nomad.unplaceable["obs-web"] = WAITING
    with pytest.raises(Unhealthy, match="obs-web did not become healthy within 10 s"):
        gate(world, timeout=10)


def test_a_task_that_failed_for_good_ends_the_wait_before_nomad_gives_up(world: World) -> None:
    world.nomad.unplaceable["obs-web"] = WAITING
    failed = {"ID": "a1b2c3d4-0", "JobVersion": 0, "ClientStatus": "failed", "CreateIndex": 9}
    failed |= {"DeploymentStatus": {"Healthy": False}, "TaskStates": None}
    world.nomad.job_allocations = lambda job_id: [failed]  # type: ignore[method-assign]
    with pytest.raises(Unhealthy, match=r"obs-web: its task failed\n    allocation a1b2c3d4 on \?: failed"):
        gate(world)
    assert world.clock.monotonic() == 0


def test_the_deployment_of_an_earlier_version_does_not_count(world: World) -> None:
    gate(world)
    earlier = world.nomad.job_deployment("obs-web")
    world.nomad.job_deployment = lambda job_id: earlier  # type: ignore[method-assign]
    with pytest.raises(Unhealthy, match="did not become healthy"):
        gate(world, timeout=10, job={**JOB, "Priority": 70})


def test_what_check_raises_ends_the_wait_unchanged(world: World) -> None:
    lost = ObsctlError("the lock was lost", hint="run it again")

    def check() -> None:
        raise lost

    with pytest.raises(ObsctlError) as caught:
        gate(world, check=check)
    assert caught.value is lost


def test_a_server_that_goes_away_ends_the_wait_unchanged(world: World) -> None:
    gone = Unreachable("no connection", hint="is it there?")
    world.nomad.failures["job_deployment"] = gone
    with pytest.raises(Unreachable) as caught:
        gate(world)
    assert caught.value is gone


class TestServices:
    def test_every_service_of_the_job_must_pass(self, world: World) -> None:
        more = with_services("web", "web-metrics")
        world.nomad.register_job(more)
        [extra] = world.consul.health("web-metrics")
        world.consul.register("web-metrics", instance=extra["Service"]["ID"], status="critical")
        with pytest.raises(Unhealthy, match="did not pass its Consul checks within 60 s"):
            gate(world, job=more)

    def test_every_allocation_must_be_registered(self, world: World) -> None:
        three = {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": 3}]}  # type: ignore[dict-item]
        world.nomad.register_job(three)
        world.consul.deregister(instance(world))
        with pytest.raises(Unhealthy, match="did not pass its Consul checks within 60 s"):
            gate(world, job=three)

    @pytest.mark.parametrize("services", [[], [{"Name": "web", "Provider": "nomad"}]])
    def test_a_job_that_is_not_in_consul_is_not_waited_for_there(self, world: World, services: list[Json]) -> None:
        world.consul.failures["health"] = Unreachable("not to be asked", hint="")
        gate(world, job={**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Services": services}]})  # type: ignore[dict-item]


@pytest.fixture(params=["with deployments", "without deployments"])
def nomad_of_some_age(request: pytest.FixtureRequest, world: World) -> World:
    """System jobs have deployments since Nomad 1.11."""
    if request.param == "without deployments":
        world.nomad.deploys = {"service"}
    return world


SYSTEM = {**JOB, "Type": "system"}


class TestSystemJobs:
    def test_one_that_runs_passes_at_once(self, nomad_of_some_age: World) -> None:
        gate(nomad_of_some_age, job=SYSTEM)
        assert nomad_of_some_age.clock.monotonic() == 0

    def test_so_does_its_next_version(self, nomad_of_some_age: World) -> None:
        gate(nomad_of_some_age, job=SYSTEM)
        gate(nomad_of_some_age, job={**SYSTEM, "Priority": 70})

    def test_its_check_in_consul_is_waited_for(self, nomad_of_some_age: World) -> None:
        world = nomad_of_some_age
        world.nomad.register_job(SYSTEM)
        world.consul.register("web", instance=instance(world), status="critical")
        with pytest.raises(Unhealthy, match="did not pass its Consul checks within 60 s"):
            gate(world, job=SYSTEM)

    def test_a_task_that_exits_is_told_with_its_last_words(self, nomad_of_some_age: World) -> None:
        nomad_of_some_age.nomad.exits["obs-web"] = "port taken"
        with pytest.raises(Unhealthy, match=r"(?s)obs-web: (its task|the deployment) failed.*web \| port taken"):
            gate(nomad_of_some_age, job=SYSTEM)
        assert nomad_of_some_age.clock.monotonic() == 0

    def test_where_no_node_takes_it_the_success_of_its_deployment_counts_for_nothing(
        self, nomad_of_some_age: World
    ) -> None:
        world = nomad_of_some_age
        world.nomad.unplaceable["obs-web"] = {"web": {"NodesEvaluated": 1, "ConstraintFiltered": {"no driver": 1}}}
        with pytest.raises(Unhealthy, match=r"cannot be placed: group web: no driver"):
            gate(world, job=SYSTEM)
        assert PLACEMENT_GRACE < world.clock.monotonic() < PLACEMENT_GRACE + 1

    def test_where_there_is_no_node_at_all_nomad_gives_no_reason(self, nomad_of_some_age: World) -> None:
        nomad_of_some_age.nomad.unplaceable["obs-web"] = {}
        with pytest.raises(Unhealthy, match="cannot be placed: no node is eligible in the job's datacenters"):
            gate(nomad_of_some_age, job=SYSTEM)

    def test_the_words_of_a_task_that_failed_are_not_lost_when_nomad_starts_the_next(self, world: World) -> None:
        world.nomad.exits["obs-web"] = "port taken"
        world.nomad.register_job(SYSTEM)
        failed = world.nomad.job_allocations("obs-web")[0]
        fresh = {**failed, "ID": "new", "ClientStatus": "pending", "CreateIndex": failed["CreateIndex"] + 9}
        world.nomad.job_allocations = lambda job_id: [fresh, failed]  # type: ignore[method-assign]
        with pytest.raises(Unhealthy, match="port taken"):
            gate(world, job=SYSTEM)

    def test_one_node_that_has_no_room_is_enough_to_fail(self, world: World) -> None:
        eval_id = world.nomad.register_job(SYSTEM)
        full = {
            "Status": "complete",
            "FailedTGAllocs": {"web": {"NodesEvaluated": 2, "DimensionExhausted": {"cpu": 1}}},
        }
        world.nomad.evaluation = lambda found: {"ID": eval_id, **full}  # type: ignore[method-assign]
        world.nomad.job_evaluations = lambda job_id: [{"Status": "blocked"}, full]  # type: ignore[method-assign]
        with pytest.raises(Unhealthy, match=r"cannot be placed: group web: cpu exhausted on 1 node"):
            gate(world, job=SYSTEM)

    @pytest.mark.parametrize(("eligibility", "waits"), [("eligible", True), ("ineligible", False)])
    def test_the_old_version_on_another_node_is_waited_for_where_nomad_replaces_it(
        self, nomad_of_some_age: World, eligibility: str, waits: bool
    ) -> None:
        world = nomad_of_some_age
        gate(world, job=SYSTEM)
        old = {**world.nomad.job_allocations("obs-web")[0], "NodeID": "other"}
        world.nomad.register_job({**SYSTEM, "Priority": 70})
        both = [*world.nomad.job_allocations("obs-web")[:1], old]
        world.nomad.job_allocations = lambda job_id: both  # type: ignore[method-assign]
        other = {"ID": "other", "Status": "ready", "SchedulingEligibility": eligibility}
        world.nomad.nodes = lambda: [other]  # type: ignore[method-assign]
        if waits:
            world.clock.after(20, lambda: both.remove(old))
        gate(world, job={**SYSTEM, "Priority": 70})
        assert world.clock.monotonic() == pytest.approx(20 if waits else 0, abs=0.3)


class TestBatchJobs:
    def test_one_that_is_done_passes(self, world: World) -> None:
        batch = {**with_services(), "Type": "batch"}
        world.nomad.register_job(batch)
        done = [{**alloc, "ClientStatus": "complete"} for alloc in world.nomad.job_allocations("obs-web")]
        world.nomad.job_allocations = lambda job_id: done  # type: ignore[method-assign]
        gate(world, job=batch)
        assert world.clock.monotonic() == 0

    def test_one_that_failed_does_not(self, world: World) -> None:
        world.nomad.exits["obs-web"] = "no such key"
        with pytest.raises(Unhealthy, match=r"(?s)its task failed.*no such key"):
            gate(world, job={**with_services(), "Type": "batch"})


def with_services(*names: str) -> Json:
    return {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Services": [{"Name": name} for name in names]}]}  # type: ignore[dict-item]
