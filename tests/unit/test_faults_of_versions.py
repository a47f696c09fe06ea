"""Faults that are another version of the job, in whole drills on fakes."""

import pytest

from obsctl.clients import jobs
from obsctl.drills import faults, kept
from obsctl.drills.plan import experiment
from obsctl.errors import Conflict, ObsctlError
from tests.drill_world import JOB, JOB_ID, SERVICE, DrillWorld


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def register(world, count, **changes):
    world.nomad.register_job({**JOB, **changes, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": count}]})


def count(world):
    return jobs.expected_count(world.nomad.job(JOB_ID))


def prepared(world, fault):
    """The fault, and its recipe, as a drill leaves them."""
    world.experiment = experiment.load(fault, SERVICE)
    return faults.named(fault), world.write(fault=fault, data=world.target().prepared.data)


def test_a_service_that_is_scaled_to_zero_pages_and_is_scaled_back(world):
    world.experiment = experiment.load("scale-zero", SERVICE)
    assert world.run().outcome == "PROVEN"
    assert (count(world), world.nomad.job(JOB_ID)["Version"]) == (1, 2)
    assert world.entries() == []


def test_one_of_two_that_is_taken_away_pages_nobody(world):
    register(world, 2)
    world.experiment = experiment.load("scale-down", SERVICE)
    assert world.run().outcome == "PROVEN"
    assert count(world) == 2


def test_the_only_instance_cannot_be_taken_away_so(world):
    world.experiment = experiment.load("scale-down", SERVICE)
    with pytest.raises(ObsctlError, match="has one instance") as failure:
        world.target()
    assert "scale-zero" in failure.value.hint


def test_the_job_says_afterwards_what_it_said_before(world):
    fault, recipe = prepared(world, "scale-zero")
    fault.inject(world.cluster, recipe)
    assert fault.revert(world.cluster, recipe).state == "reverted"
    assert kept.digest_of(jobs.spec(world.nomad.job(JOB_ID))) == recipe.digest
    assert fault.revert(world.cluster, recipe).state == "already"


@pytest.mark.parametrize("change", ["scaled", "deployed", "stopped", "removed"])
def test_what_somebody_did_meanwhile_stands(world, change):
    fault, recipe = prepared(world, "scale-zero")
    fault.inject(world.cluster, recipe)
    if change == "scaled":
        register(world, 3)
    elif change == "deployed":
        register(world, 0, Priority=70)
    else:
        world.nomad.stop_job(JOB_ID)
    if change == "removed":
        world.nomad.collect_garbage(JOB_ID)
    assert fault.revert(world.cluster, recipe).state == "superseded"


def test_a_job_that_changed_since_it_was_found_is_not_touched(world):
    fault, recipe = prepared(world, "scale-zero")
    register(world, 1, Priority=70)
    with pytest.raises(Conflict, match="somebody changed the job"):
        fault.inject(world.cluster, recipe)
    assert count(world) == 1


def test_the_warden_puts_the_count_back(world):
    fault, recipe = prepared(world, "scale-zero")
    fault.inject(world.cluster, recipe)
    world.consul.destroy_session(world.lease.session)
    world.pass_time(10)
    assert count(world) == 1
    assert world.entry().outcome["healthy"]


def test_there_is_no_effect_while_too_many_run_or_pass(world):
    fault, recipe = prepared(world, "scale-zero")
    assert fault.effect_at(world.world, recipe) is None
    fault.inject(world.cluster, recipe)
    assert fault.effect_at(world.world, recipe) == pytest.approx(world.clock.now())
    world.consul.register(SERVICE)
    assert fault.effect_at(world.world, recipe) is None
