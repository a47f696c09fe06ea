"""What is read of the cluster, and how the desired jobs are marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obsctl.config.secrets import Secret
from obsctl.errors import ObsctlError
from obsctl.stack.observe import desire, marked, observe, registered_as
from obsctl.stack.render import Rendered, RenderedJob, render
from tests.world import SECRET, World, config, only_job

SMALL = config()


@pytest.fixture
def world() -> World:
    return World()


def test_a_desired_job_bears_the_marks_of_its_stack(world: World) -> None:
    job = only_job(world.desire(SMALL), "warden")
    meta = job.job["Meta"]
    assert (meta["obsctl.stack"], meta["obsctl.component"], meta["obsctl.spec"]) == ("obs", "warden", job.spec)
    assert meta["obsctl.version"]


def test_marks_leave_the_jobs_own_meta_alone() -> None:
    job = marked({"ID": "a", "Meta": {"mine": "1"}}, stack="obs", component="a", spec="s", version="v")
    assert job["Meta"] == {
        "mine": "1",
        "obsctl.stack": "obs",
        "obsctl.component": "a",
        "obsctl.spec": "s",
        "obsctl.version": "v",
    }


def test_the_spec_is_the_same_for_the_same_job_and_another_for_another(world: World) -> None:
    again = only_job(world.desire(SMALL), "warden").spec
    assert only_job(world.desire(SMALL), "warden").spec == again
    other = config(components={"warden": {"port": 9999}})
    assert only_job(world.desire(other), "warden").spec != again


def test_all_jobs_that_nomad_cannot_read_are_told_at_once(world: World) -> None:
    broken = tuple(RenderedJob(name, f"obs-{name}", f'job "obs-{name}" {{') for name in ("one", "two"))
    with pytest.raises(ObsctlError, match=r"(?s)Nomad cannot read these jobs:\n  one: .*\n  two: ") as caught:
        desire(Rendered("obs", broken, (), ()), world.nomad, lambda _, key: Secret(SECRET))
    assert "obsctl render" in caught.value.hint


def test_a_secret_is_asked_for_with_the_place_it_goes_to(world: World) -> None:
    asked: list[tuple[str, str]] = []

    def resolve(reference: str, key: str) -> Secret:
        asked.append((reference, key))
        return Secret(SECRET)

    desire(render(config(nomad={"tokens": {"warden": "env:NOMAD"}}), Path("/nonexistent")), world.nomad, resolve)
    assert asked == [("env:NOMAD", "nomad/jobs/obs-warden#nomad_token")]


def test_jobs_of_this_stack_that_are_no_longer_desired_are_seen(world: World) -> None:
    old = marked({"ID": "obs-old", "Name": "obs-old"}, stack="obs", component="old", spec="s")
    world.nomad.register_job(old)
    world.nomad.register_job({"ID": "batch", "Name": "batch"})
    _, observed = world.seen(SMALL)
    assert list(observed.jobs) == ["obs-old"]
    assert observed.jobs["obs-old"].owner == "obs"


def test_only_what_belongs_to_the_stack_is_read_of_consul(world: World) -> None:
    for key in ("obsctl/obs/rules/mine", "obsctl/obs/lock", "obsctl/obs2/rules/theirs", "shop/config"):
        world.consul.put(key, b"x")
    _, observed = world.seen(SMALL)
    assert list(observed.content) == ["obsctl/obs/rules/mine"]


def test_observing_changes_nothing(world: World) -> None:
    world.deploy(SMALL)
    desired = world.desire(SMALL)
    world.nomad.calls.clear()
    world.consul.calls.clear()
    observe(desired, world.nomad, world.consul)
    assert {name for name, _ in world.nomad.calls} == {
        "jobs",
        "plan_job",
        "job_deployment",
        "job_allocations",
        "nodes",
        "variable",
    }
    assert {name for name, _ in world.consul.calls} == {"entries"}


def test_a_newer_obsctl_alone_is_no_difference(world: World) -> None:
    world.deploy(SMALL)
    job = world.nomad.job("obs-warden")
    world.nomad.register_job({**job, "Meta": {**job["Meta"], "obsctl.version": "0.0.1"}})
    desired, observed = world.seen(SMALL)
    assert observed.jobs["obs-warden"].differences == ()
    registered = registered_as(observed.jobs["obs-warden"], only_job(desired, "warden"))
    assert registered["Meta"]["obsctl.version"] == "0.0.1"


def test_the_desired_values_are_json_for_nomad_but_show_no_secret(world: World) -> None:
    desired = world.desire(config(consul={"tokens": {"warden": "env:CONSUL"}}))
    assert SECRET not in json.dumps([job.job for job in desired.jobs]) + repr(desired)
    assert desired.variables["nomad/jobs/obs-warden"]["consul_token"].reveal() == SECRET
