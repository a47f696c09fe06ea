"""How a component is, in one line."""

from __future__ import annotations

import pytest

from obsctl.stack.status import ComponentStatus, status
from tests.world import OTHERS_OFF, World, config

SMALL = config()
MINE = {"obsctl_stack": "obs"}
OFF = {name: {"enabled": False} for name in ("alert-sink", "alertmanager", "warden")}
ONE = config(components={**OTHERS_OFF, **OFF})
JOB = {"ID": "obs-prometheus", "TaskGroups": [{"Name": "x", "Count": 1, "Tasks": []}]}


@pytest.fixture
def world() -> World:
    return World()


def states(world: World) -> dict[str, str]:
    found = status(SMALL, world.nomad, world.consul)
    return {item.component: f"{item.state} {item.running}/{item.wanted}" for item in found}


def test_components_that_are_not_there(world: World) -> None:
    assert set(states(world).values()) == {"missing 0/0"}


def test_components_that_run(world: World) -> None:
    world.deploy(SMALL)
    assert set(states(world).values()) == {"healthy 1/1"}
    world.nomad.stop_job("obs-warden")
    assert states(world)["warden"] == "stopped 0/1"


def test_a_system_job_wants_as_many_as_nomad_gave_it_nodes(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.register_job({**world.nomad.job("obs-warden"), "Type": "system"})
    here = world.nomad.job_allocations("obs-warden")
    elsewhere = {**here[0], "NodeID": "other", "ClientStatus": "pending"}
    usual = world.nomad.job_allocations
    world.nomad.job_allocations = (  # type: ignore[method-assign]
        lambda job_id: [*here, elsewhere] if job_id == "obs-warden" else usual(job_id)
    )
    assert states(world)["warden"] == "unhealthy 1/2"


def one(world: World) -> ComponentStatus:
    [found] = status(ONE, world.nomad, world.consul)
    return found


def test_a_service_of_another_job_is_not_ours(world: World) -> None:
    world.nomad.register_job(JOB)
    world.consul.register("prometheus", instance=world.nomad.place("other-prometheus"), port=1, meta=MINE)
    assert (one(world).address, one(world).state, one(world).note) == ("", "unhealthy", "not registered in Consul")
    world.consul.register("prometheus", instance=mine(world), port=2)
    assert (one(world).address, one(world).state) == ("http://127.0.0.1:2", "healthy")


def test_what_fails_in_another_job_does_not_make_ours_unhealthy(world: World) -> None:
    world.nomad.register_job(JOB)
    own, theirs = mine(world), world.nomad.place("other-prometheus")
    world.consul.register("prometheus", instance=own)
    world.consul.register("prometheus", instance=theirs, status="critical")
    assert one(world).state == "healthy"
    world.consul.register("prometheus", instance=own, status="critical")
    assert (one(world).state, one(world).note) == ("unhealthy", f"{own}-check: critical")


def test_a_passing_instance_is_shown_before_a_failing_one(world: World) -> None:
    world.nomad.register_job({**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": 2}]})
    first, second = (f"_nomad-task-{each['ID']}-" for each in world.nomad.job_allocations(JOB["ID"]))
    world.consul.register("prometheus", instance=first, port=1, status="critical")
    world.consul.register("prometheus", instance=second, port=2)
    assert one(world).address == "http://127.0.0.1:2"


def mine(world: World) -> str:
    """How the id of what the job's allocation registers begins."""
    return f"_nomad-task-{world.nomad.job_allocations(JOB['ID'])[0]['ID']}-"
