import json
from dataclasses import replace

import pytest

from obsctl.config.secrets import Secret
from obsctl.drills import recipes
from obsctl.errors import Conflict, NotFound
from tests.drill_world import DRILL_ID, STACK, DrillWorld

KEY = recipes.key(STACK, DRILL_ID)
NOT_SIGNED = [
    b"", b"{", b"[]", b"\xff", b'{"recipe": 1}', b"\n", b"\n\n{}", b"0" * 64 + b"\n{}", b"[" * 100_000,
    b"0" * 64 + b"\n" + b"[" * 100_000,
]  # fmt: skip


@pytest.fixture
def world(tmp_path):
    made = DrillWorld(tmp_path)
    made.warden_lives = False
    return made


def stored(world):
    return world.consul.get(KEY).value


def assert_nobody_acts(world):
    entry = world.entry()
    assert (entry.recipe, entry.is_genuine) == (None, False)
    assert entry.trouble == "it is not signed: forged, or of an obsctl before signatures"


def test_a_recipe_is_read_as_it_was_written(world):
    recipe = world.write()
    entry = world.entry()
    assert (entry.recipe, entry.ack, entry.outcome, entry.is_genuine) == (recipe, None, None, True)


def test_the_wardens_parts_stand_beside_the_recipe(world):
    recipe = world.write()
    recipes.amend(world.cluster, recipe, world.entry(), ack={"host": "a"}, outcome=None)
    recipes.amend(world.cluster, recipe, world.entry(), ack={"host": "a"}, outcome={"state": "reverted"})
    entry = world.entry()
    assert (entry.recipe, entry.ack, entry.outcome) == (recipe, {"host": "a"}, {"state": "reverted"})


def test_an_entry_that_was_removed_is_not_brought_back(world):
    recipe = world.write()
    seen = world.entry()
    recipes.remove(world.cluster, DRILL_ID)
    with pytest.raises(Conflict):
        recipes.amend(world.cluster, recipe, seen, ack={"host": "a"}, outcome=None)
    assert world.entries() == []


def test_a_recipe_is_never_written_over(world):
    recipe = world.write()
    with pytest.raises(Conflict):
        recipes.write(world.cluster, recipe)


@pytest.mark.parametrize("value", NOT_SIGNED)
def test_what_is_not_signed_is_no_recipe_and_hides_no_other(world, value):
    recipe = world.write()
    world.consul.put(recipes.key(STACK, "0-forged"), value)
    forged, sound = recipes.read(world.cluster)
    assert (forged.recipe, forged.is_genuine) == (None, False)
    assert forged.trouble
    assert sound.recipe == recipe


def test_the_key_of_another_stack_signs_nothing_here(world):
    forger = replace(world.cluster, secret=Secret("another key"))
    recipes.write(forger, world.recipe())
    assert_nobody_acts(world)


@pytest.mark.parametrize("part", ["job", "namespace", "version", "digest", "session", "deadline", "stack", "fault"])
def test_nothing_of_a_signed_recipe_can_be_changed(world, part):
    world.write()
    signature, _, body = stored(world).partition(b"\n")
    parts = json.loads(body)
    parts["recipe"][part] = "other"
    world.consul.put(KEY, signature + b"\n" + json.dumps(parts).encode())
    assert_nobody_acts(world)


@pytest.mark.parametrize("part", ["ack", "outcome"])
def test_the_wardens_word_cannot_be_forged(world, part):
    world.write()
    signature, _, body = stored(world).partition(b"\n")
    world.consul.put(KEY, signature + b"\n" + json.dumps({**json.loads(body), part: {"healthy": True}}).encode())
    assert_nobody_acts(world)


def test_a_recipe_counts_under_no_other_key(world):
    recipe = world.write()
    world.consul.put(recipes.key(STACK, f"{DRILL_ID}-again"), stored(world))
    first, again = recipes.read(world.cluster)
    assert (first.recipe, again.recipe, again.is_genuine) == (recipe, None, False)


def test_an_old_entry_that_is_written_again_counts_no_more(world):
    world.write()
    old = stored(world)
    recipes.remove(world.cluster, DRILL_ID)
    world.consul.put(KEY, old)
    assert_nobody_acts(world)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fault": "flood"}, "this obsctl does not know the fault flood"),
        ({"namespace": "team"}, "its job is in namespace team, and obsctl.yaml has nomad.namespace: default"),
    ],
)
def test_a_signed_recipe_that_is_not_for_us_says_why(world, changes, words):
    world.write(**changes)
    entry = world.entry()
    assert (entry.recipe, entry.is_genuine, entry.trouble) == (None, True, words)


@pytest.mark.parametrize("number", [recipes.FORMAT - 1, recipes.FORMAT + 1])
def test_a_recipe_of_another_version_is_a_drill_on_which_nobody_here_acts(world, monkeypatch, number):
    with monkeypatch.context() as patch:
        patch.setattr(recipes, "FORMAT", number)
        world.write()
    entry = world.entry()
    assert (entry.recipe, entry.is_genuine) == (None, True)
    assert entry.trouble == "another version of obsctl wrote it"


def test_no_secret_of_a_job_is_in_consul(world):
    """Its environment is in Nomad alone."""
    job = world.nomad.job("demo-response")
    job["TaskGroups"][0]["Tasks"][0]["Env"] = {"PASSWORD": "correct-horse"}
    world.nomad.register_job(job)
    world.warden_lives = True
    world.pass_time(5)
    assert world.run().outcome == "PROVEN"
    written = [value for _, value in world.consul.called("put")]
    assert written
    assert not [value for value in written if b"correct-horse" in value]
    assert "correct-horse" not in world.journal.path.read_text()


def test_drills_of_another_stack_are_not_ours(world):
    other = replace(world.cluster, stack=f"{STACK}-2")
    recipes.write(other, world.recipe(stack=other.stack))
    assert recipes.read(world.cluster) == []


def test_without_a_deploy_there_is_no_key(world):
    world.nomad.delete_variable(f"nomad/jobs/{STACK}-warden")
    with pytest.raises(NotFound) as failure:
        recipes.secret(world.nomad, STACK)
    assert failure.value.hint == "obsctl deploy creates it"
