from dataclasses import replace

import pytest

from obsctl.drills import recipes
from obsctl.errors import Conflict, ObsctlError
from tests.drill_world import DRILL_ID, STACK, DrillWorld


@pytest.fixture
def world(tmp_path):
    made = DrillWorld(tmp_path)
    made.warden_lives = False
    return made


def only_entry(world):
    (entry,) = recipes.read(world.consul, STACK)
    return entry


def test_a_recipe_is_read_as_it_was_written(world):
    recipe = world.recipe()
    recipes.write(world.consul, recipe)
    entry = only_entry(world)
    assert (entry.drill, entry.recipe, entry.ack, entry.outcome) == (DRILL_ID, recipe, None, None)


def test_the_wardens_parts_stand_beside_the_recipe(world):
    recipe = world.recipe()
    recipes.write(world.consul, recipe)
    recipes.amend(world.consul, recipe, only_entry(world), ack={"host": "a"}, outcome=None)
    recipes.amend(world.consul, recipe, only_entry(world), ack={"host": "a"}, outcome={"state": "reverted"})
    entry = only_entry(world)
    assert (entry.recipe, entry.ack, entry.outcome) == (recipe, {"host": "a"}, {"state": "reverted"})


def test_an_entry_that_was_removed_is_not_brought_back(world):
    recipe = world.recipe()
    recipes.write(world.consul, recipe)
    seen = only_entry(world)
    recipes.remove(world.consul, STACK, DRILL_ID)
    with pytest.raises(Conflict):
        recipes.amend(world.consul, recipe, seen, ack={"host": "a"}, outcome=None)
    assert world.entries() == []


def test_a_recipe_is_never_written_over(world):
    recipes.write(world.consul, world.recipe())
    with pytest.raises(Conflict):
        recipes.write(world.consul, world.recipe())


@pytest.mark.parametrize(
    "data", [{}, {"job": None}, {"job": []}, {"job": {"ID": "a"}}, {"job": {"ID": 1, "Version": 0}}, [], None]
)
def test_a_recipe_without_what_its_fault_needs_is_not_acted_on(world, data):
    recipes.write(world.consul, replace(world.recipe(), data=data))
    entry = only_entry(world)
    assert (entry.drill, entry.recipe) == (DRILL_ID, None)
    assert entry.unreadable


def test_one_that_is_nested_without_end_hides_no_other(world):
    recipes.write(world.consul, world.recipe())
    world.consul.put(recipes.key(STACK, "x"), b"[" * 100_000)
    entries = recipes.read(world.consul, STACK)
    assert [entry.recipe is None for entry in entries] == [False, True]


def test_a_recipe_too_large_for_consul_is_refused_before_anything_is_written(world):
    huge = replace(world.recipe(), data={"Template": "x" * recipes.MAX_RECIPE_BYTES})
    with pytest.raises(ObsctlError, match="too large") as failure:
        recipes.write(world.consul, huge)
    assert "no drill starts without" in failure.value.hint
    assert world.entries() == []


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b"null", b"{}", b'{"recipe": {}}', b'{"recipe": {"drill": "x"}}', b"\xff", b'{"recipe": 1}'],
)
def test_an_entry_that_cannot_be_read_says_so_and_hides_no_other(world, value):
    recipes.write(world.consul, world.recipe())
    world.consul.put(recipes.key(STACK, "0-broken"), value)
    broken, sound = recipes.read(world.consul, STACK)
    assert broken.recipe is None
    assert broken.unreadable
    assert sound.recipe == world.recipe()


def test_drills_of_another_stack_are_not_ours(world):
    recipes.write(world.consul, world.recipe(stack=f"{STACK}-2"))
    assert recipes.read(world.consul, STACK) == []
