import random
import string

import pytest

from obsctl.clients import jobs
from obsctl.drills import kept
from obsctl.errors import ObsctlError
from tests.drill_world import JOB_ID, STACK, DrillWorld


@pytest.fixture
def world(tmp_path):
    made = DrillWorld(tmp_path)
    made.warden_lives = False
    return made


PATH = f"nomad/jobs/{STACK}-warden/drill"


def test_a_job_is_kept_as_it_was_registered(world):
    recipe = world.write()
    assert kept.read(world.cluster, recipe) == jobs.spec(world.nomad.job(JOB_ID))


def test_what_a_drill_left_that_died_before_it_began_makes_room_for_the_next(world):
    old, new = world.recipe(drill="old"), world.recipe()
    kept.keep(world.cluster, old, {"ID": "old"})
    kept.keep(world.cluster, new, jobs.spec(world.nomad.job(JOB_ID)))
    kept.forget(world.cluster, old)
    assert kept.read(world.cluster, old) is None
    assert kept.read(world.cluster, new)


def test_it_is_gone_when_the_drill_is_over(world):
    recipe = world.write()
    kept.forget(world.cluster, recipe)
    assert kept.read(world.cluster, recipe) is None


def test_stopping_a_job_changes_nothing_of_what_it_says(world):
    before = kept.digest_of(jobs.spec(world.nomad.job(JOB_ID)))
    world.nomad.stop_job(JOB_ID)
    assert kept.digest_of(jobs.spec(world.nomad.job(JOB_ID))) == before


@pytest.mark.parametrize("items", [{}, {"kept": ""}, {"kept": "%"}, {"kept": "eJwDAAAAAAE="}])
def test_another_job_than_the_signed_one_is_refused(world, items):
    recipe = world.write()
    world.nomad.put_variable(PATH, {"drill": recipe.drill, **items})
    with pytest.raises(ObsctlError, match="does not hold what the drill kept of demo-response") as failure:
        kept.read(world.cluster, recipe)
    assert f"nomad var purge {PATH}" in failure.value.hint


def test_a_job_beyond_what_a_variable_holds_is_refused_before_anything_is_touched(world):
    text = "".join(random.Random(1).choices(string.printable, k=90_000))
    world.nomad.register_job({**world.nomad.job(JOB_ID), "Meta": {"text": text}})
    with pytest.raises(ObsctlError, match="too large to be kept") as failure:
        world.target()
    assert "no drill starts without" in failure.value.hint
