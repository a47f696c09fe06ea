"""The gate after a job: what it waits for, when it gives up, and what it says then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from obsctl.clients.protocols import Json
from obsctl.errors import NotFound, ObsctlError, Unreachable
from obsctl.stack.health import PLACEMENT_GRACE, Unhealthy, wait_healthy
from obsctl.stack.observe import DesiredJob
from tests.world import World

JOB = {
    "ID": "obs-web",
    "Name": "obs-web",
    "Meta": {},
    "TaskGroups": [{"Name": "web", "Count": 1, "Tasks": [{"Name": "web"}], "Services": [{"Name": "web"}]}],
}
WAITING = {"web": {"NodesEvaluated": 1}}  # not placed; nothing is said before PLACEMENT_GRACE


@pytest.fixture
def world() -> World:
    return World()


def gate(world: World, *, timeout: float = 60, check: Callable[[], None] = lambda: None, job: Json = JOB) -> None:
    eval_id = world.nomad.register_job(job)
    desired = DesiredJob("web", "obs-web", 1, "spec", job)
    wait_healthy(world.nomad, world.consul, desired, eval_id, timeout=timeout, check=check, clock=world.clock)


def instance(world: World) -> str:
    return next(entry["Service"]["ID"] for entry in world.consul.health("web"))


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
    unregistered = {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Services": []}]}  # type: ignore[index]
    with pytest.raises(Unhealthy, match="obs-web: passing Consul checks did not happen within 60 s"):
        gate(world, job=unregistered)


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
    with pytest.raises(Unhealthy, match=r"cannot be placed: group web: memory exhausted on 1 nodes\n.*no allocation"):
        gate(world)
    assert PLACEMENT_GRACE < world.clock.monotonic() < PLACEMENT_GRACE + 1


def test_the_deadline_is_told_with_what_was_awaited(world: World) -> None:
    world.nomad.unplaceable["obs-web"] = WAITING
    with pytest.raises(Unhealthy, match="obs-web: a healthy deployment did not happen within 10 s"):
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
    with pytest.raises(Unhealthy, match="a healthy deployment did not happen"):
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
