import pytest

from obsctl.drills import recipes
from obsctl.drills.faults import stop
from obsctl.drills.run.reverting import finish_journal, recover
from obsctl.drills.tell.journal import Journal, read
from obsctl.errors import ObsctlError, Unreachable
from tests.drill_world import DRILL_ID, JOB_ID, STACK, DrillWorld


@pytest.fixture
def world(tmp_path):
    """A drill that died after its fault; no warden is there yet."""
    made = DrillWorld(tmp_path)
    made.warden_lives = False
    recipe = made.recipe()
    recipes.write(made.consul, recipe)
    stop.inject(made.cluster, recipe)
    made.consul.expire(made.lease.session)
    return made


def entry(world):
    (found,) = recipes.read(world.consul, STACK)
    return found


def test_a_service_that_nobody_put_back_is_put_back(world):
    done = recover(world.world, entry(world))
    assert (done.state, done.by) == ("reverted", "obsctl drill recover")
    assert world.runs()
    assert world.entries() == []


def test_what_the_warden_did_is_told_as_its_deed(world):
    world.warden_lives = True
    world.pass_time(10)
    done = recover(world.world, entry(world))
    assert (done.state, done.by) == ("reverted", "the warden")
    assert world.versions() == 2
    assert world.entries() == []


def test_recovering_again_is_harmless(world):
    found = entry(world)
    recover(world.world, found)
    assert recover(world.world, found).state == "already"
    assert world.versions() == 2


def test_a_job_that_an_operator_stopped_since_stays_stopped(world):
    world.nomad.stop_job(JOB_ID)
    assert recover(world.world, entry(world)).state == "superseded"
    assert not world.runs()
    assert world.entries() == []


def test_a_service_that_does_not_come_back_keeps_its_recipe(world):
    world.nomad.exits[JOB_ID] = "boom"
    with pytest.raises(ObsctlError, match="response did not come back") as failure:
        recover(world.world, entry(world))
    assert "obsctl drill recover again" in failure.value.hint
    assert len(world.entries()) == 1


def test_nomad_away_keeps_the_recipe(world):
    world.nomad.failures["*"] = Unreachable("Nomad is away", hint="start it")
    with pytest.raises(ObsctlError, match="Nomad is away"):
        recover(world.world, entry(world))
    assert len(world.entries()) == 1


@pytest.mark.parametrize("value", [b"{", None])
def test_a_recipe_that_cannot_be_acted_on_is_left_with_what_to_do(world, value):
    found = entry(world)
    if value is None:
        world.consul.delete_tree("")
        recipes.write(world.consul, world.recipe(fault="flood"))
    else:
        world.consul.put(recipes.key(STACK, DRILL_ID), value)
    found = entry(world)
    with pytest.raises(ObsctlError, match=DRILL_ID) as failure:
        recover(world.world, found)
    assert f"consul kv delete obsctl/{STACK}/drills/{DRILL_ID}" in failure.value.hint
    assert len(world.entries()) == 1


def test_the_journal_of_the_dead_drill_is_ended(world, tmp_path):
    journal = Journal.create(tmp_path, DRILL_ID)
    journal.append("started")
    journal.close()
    finish_journal(tmp_path, recover(world.world, entry(world)))
    last = read(journal.path)[-1]
    assert (last.kind, last.data["by"], last.data["state"]) == ("recovered", "obsctl drill recover", "reverted")


def test_a_drill_that_ran_on_another_machine_has_no_journal_here(world, tmp_path):
    finish_journal(tmp_path, recover(world.world, entry(world)))
    assert list(tmp_path.iterdir()) == []
