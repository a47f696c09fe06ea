from pathlib import Path

import pytest

from obsctl.clients import jobs
from obsctl.drills import faults, kept
from obsctl.drills.faults.stop import FAULT as STOP
from obsctl.drills.plan import experiment
from obsctl.errors import Conflict, Forbidden, NotFound, Unreachable
from tests.drill_world import JOB, JOB_ID, SERVICE, DrillWorld


@pytest.fixture
def world(tmp_path):
    made = DrillWorld(tmp_path)
    made.warden_lives = False
    return made


@pytest.fixture
def recipe(world):
    return world.write()


def effect(world, recipe):
    return STOP.effect_at(world.cluster, recipe)


def test_the_effect_of_a_stop_is_the_end_of_its_last_task(world, recipe):
    assert effect(world, recipe) is None
    stopped_at = world.clock.now()
    STOP.inject(world.cluster, recipe)
    world.clock.sleep(5)
    assert effect(world, recipe) == pytest.approx(stopped_at)


@pytest.mark.parametrize("status", ["pending", "running", "unknown"])
def test_there_is_no_effect_while_an_allocation_may_still_run(world, recipe, status):
    STOP.inject(world.cluster, recipe)
    world.nomad.report_allocations(JOB_ID, ClientStatus=status)
    assert effect(world, recipe) is None


def test_there_is_no_effect_while_consul_still_offers_the_service(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.consul.register(SERVICE)
    assert effect(world, recipe) is None


@pytest.mark.parametrize("change", ["deployed", "stopped", "started again"])
def test_a_job_that_is_not_the_recipes_any_more_is_not_stopped(world, recipe, change):
    if change == "deployed":
        world.nomad.register_job({**JOB, "Priority": 70})
    else:
        world.nomad.stop_job(JOB_ID)
    if change == "started again":
        world.nomad.register_job(JOB)
    before = world.versions()
    with pytest.raises(Conflict, match="somebody changed the job"):
        STOP.inject(world.cluster, recipe)
    assert world.versions() == before


def test_a_revert_registers_the_job_as_it_was(world, recipe):
    STOP.inject(world.cluster, recipe)
    assert STOP.revert(world.cluster, recipe).state == "reverted"
    assert world.runs()
    assert world.nomad.job(JOB_ID)["TaskGroups"] == JOB["TaskGroups"]
    assert STOP.is_gone(world.cluster, recipe)


def test_a_second_revert_changes_nothing(world, recipe):
    STOP.inject(world.cluster, recipe)
    STOP.revert(world.cluster, recipe)
    version = world.versions()
    assert STOP.revert(world.cluster, recipe).state == "already"
    assert world.versions() == version


def test_a_revert_without_a_fault_changes_nothing(world, recipe):
    assert STOP.revert(world.cluster, recipe).state == "already"
    assert world.versions() == 0


def test_a_job_that_was_deployed_during_the_fault_keeps_its_new_form(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.register_job({**JOB, "Priority": 70})
    assert STOP.revert(world.cluster, recipe).state == "already"
    assert world.nomad.job(JOB_ID)["Priority"] == 70


def test_a_job_that_was_deployed_and_stopped_since_stays_stopped(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.register_job({**JOB, "Priority": 70})
    world.nomad.stop_job(JOB_ID)
    reverted = STOP.revert(world.cluster, recipe)
    assert reverted.state == "superseded"
    assert not world.runs()


def test_a_job_that_was_scaled_while_it_was_stopped_starts_with_its_new_count(world, recipe):
    """An autoscaler knows nothing of drills: the service must not stay down because of it."""
    STOP.inject(world.cluster, recipe)
    world.nomad.scale_stopped(JOB_ID, 2)
    world.nomad.scale_stopped(JOB_ID, 3)
    assert STOP.revert(world.cluster, recipe).state == "reverted"
    assert world.nomad.job(JOB_ID)["TaskGroups"][0]["Count"] == 3
    assert STOP.is_gone(world.cluster, recipe)


def test_a_job_that_was_scaled_after_an_operator_stopped_it_stays_stopped(world, recipe):
    STOP.inject(world.cluster, recipe)
    STOP.revert(world.cluster, recipe)
    world.nomad.stop_job(JOB_ID)
    world.nomad.scale_stopped(JOB_ID, 2)
    assert STOP.revert(world.cluster, recipe).state == "superseded"


def test_a_stop_whose_versions_nomad_has_forgotten_is_not_taken_for_ours(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.scale_stopped(JOB_ID, 2)
    world.nomad.forget_versions(JOB_ID)
    assert STOP.revert(world.cluster, recipe).state == "superseded"


def test_a_job_that_was_purged_is_registered_as_the_drill_had_found_it(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.collect_garbage(JOB_ID)
    assert STOP.revert(world.cluster, recipe).state == "reverted"
    assert world.runs()
    assert kept.digest_of(jobs.spec(world.nomad.job(JOB_ID))) == recipe.digest


def test_a_job_that_is_neither_in_nomad_nor_kept_is_not_made_up(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.collect_garbage(JOB_ID)
    kept.forget(world.cluster, recipe)
    with pytest.raises(NotFound, match="is not kept any more"):
        STOP.revert(world.cluster, recipe)


def test_a_job_that_was_purged_and_is_another_one_now_stays_stopped(world, recipe):
    """Its versions begin at 0 again, and its stop has the number of ours."""
    STOP.inject(world.cluster, recipe)
    world.nomad.collect_garbage(JOB_ID)
    world.nomad.register_job({**JOB, "Priority": 70})
    world.nomad.stop_job(JOB_ID)
    assert world.versions() == recipe.version + 1
    assert STOP.revert(world.cluster, recipe).state == "superseded"


def test_a_revert_that_loses_a_race_looks_again(world, recipe):
    STOP.inject(world.cluster, recipe)
    register, raced = world.nomad.register_job, []

    def race(job, **options):
        if not raced:
            raced.append(register(job, **options))
        return register(job, **options)

    world.nomad.register_job = race
    assert STOP.revert(world.cluster, recipe).state == "already"
    assert world.versions() == 2


def test_a_purged_job_that_somebody_registers_at_the_same_moment_is_theirs(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.collect_garbage(JOB_ID)
    register, raced = world.nomad.register_job, []

    def race(job, **options):
        if not raced:
            raced.append(register({**JOB, "Priority": 70}))
        return register(job, **options)

    world.nomad.register_job = race
    assert STOP.revert(world.cluster, recipe).state == "already"
    assert world.nomad.job(JOB_ID)["Priority"] == 70


def test_a_race_that_never_ends_is_an_error_and_not_a_loop(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.failures["register_job"] = Conflict("Nomad: the job changed", hint="")
    with pytest.raises(Conflict):
        STOP.revert(world.cluster, recipe)


def test_other_errors_of_nomad_reach_the_caller(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.failures["register_job"] = Unreachable("away", hint="")
    with pytest.raises(Unreachable):
        STOP.revert(world.cluster, recipe)


def test_a_rehearsal_changes_nothing_and_fails_like_the_revert(world, recipe):
    STOP.rehearse(world.cluster, recipe)
    assert world.versions() == 0
    world.nomad.failures["plan_job"] = Forbidden("403", hint="")
    with pytest.raises(Forbidden):
        STOP.rehearse(world.cluster, recipe)


@pytest.mark.parametrize("missing", ["job", "allocation", "check"])
def test_a_service_is_not_back_while_a_part_is_missing(world, recipe, missing):
    STOP.inject(world.cluster, recipe)
    STOP.revert(world.cluster, recipe)
    assert STOP.is_gone(world.cluster, recipe)
    instance = world.consul.health(SERVICE)[0]["Service"]["ID"]
    if missing == "job":
        world.nomad.stop_job(JOB_ID)
        world.nomad.collect_garbage(JOB_ID)
    elif missing == "allocation":
        world.nomad.report_allocations(JOB_ID, ClientStatus="pending")
    else:
        world.consul.register(SERVICE, instance=instance, status="critical")
    assert not STOP.is_gone(world.cluster, recipe)


@pytest.mark.parametrize("name", faults.NAMES)
def test_a_module_of_a_fault_has_what_the_protocol_says(name):
    fault = faults.named(name)
    assert isinstance(fault, faults.Fault)
    assert fault.scrape in faults.Scrape
    assert vars(fault) == {}


def test_each_fault_has_its_experiment_in_the_library():
    library = Path(faults.__file__).parents[1] / "library"
    assert tuple(sorted(file.stem for file in library.glob("*.yaml"))) == faults.NAMES
    for name in faults.NAMES:
        loaded = experiment.load(name, "response")
        assert loaded.fault == name
        assert loaded.question.endswith("?")
