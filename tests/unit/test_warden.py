import json
import threading
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from obsctl.drills import recipes
from obsctl.drills.faults.stop import FAULT as STOP
from obsctl.drills.run.reverting import recover
from obsctl.errors import Forbidden, Unreachable
from obsctl.services.warden import STALE, Warden
from tests.drill_world import DRILL_ID, JOB, JOB_ID, STACK, DrillWorld


@pytest.fixture
def world(tmp_path):
    """A recipe is in Consul; the warden takes a turn only when a test says so."""
    made = DrillWorld(tmp_path)
    made.warden_lives = False
    made.write()
    return made


@pytest.fixture
def recipe(world):
    return world.recipe()


def entry(world):
    return world.entry()


class AsItWas:
    """Consul, whose recipes are those of the moment in which this was made."""

    def __init__(self, consul):
        self._consul = consul
        self._seen = consul.watch(recipes.folder(STACK), index=0, wait=0)

    def watch(self, prefix, *, index, wait):
        return self._seen

    def __getattr__(self, name):
        return getattr(self._consul, name)


def turn(world, times=1):
    for _ in range(times):
        world.warden.turn(wait=0)


def metric(world, name):
    return world.registry.get_sample_value(name)


def test_a_new_recipe_is_acknowledged_once_and_nothing_is_touched(world):
    turn(world)
    first = entry(world).ack
    turn(world, 3)
    assert first
    assert entry(world).ack == first
    assert world.versions() == 0
    assert metric(world, "warden_recipes") == 1


def test_a_fault_whose_holder_lives_is_left_alone(world, recipe):
    turn(world)
    STOP.inject(world.cluster, recipe)
    turn(world, 5)
    assert not world.runs()
    assert entry(world).outcome is None


@pytest.mark.parametrize("end", ["session", "deadline"])
def test_a_fault_is_put_back_when_the_session_is_gone_or_the_deadline_has_passed(world, recipe, end):
    turn(world)
    STOP.inject(world.cluster, recipe)
    if end == "session":
        world.consul.expire(world.lease.session)
    else:
        world.clock.sleep(121)
    turn(world)
    assert world.runs()
    turn(world)
    outcome = entry(world).outcome
    assert (outcome["state"], outcome["healthy"]) == ("reverted", True)
    assert metric(world, "warden_reverts_total") == 1


def test_two_wardens_at_the_same_moment_start_the_service_once(world, recipe):
    turn(world)
    STOP.inject(world.cluster, recipe)
    world.consul.expire(world.lease.session)
    registry = CollectorRegistry()
    second = Warden(replace(world.cluster, consul=AsItWas(world.consul)), registry)
    turn(world)
    versions = world.versions()
    assert second.turn(wait=0)
    turn(world, 2)
    outcome = entry(world).outcome
    assert (outcome["state"], outcome["healthy"], world.versions()) == ("reverted", True, versions)
    assert registry.get_sample_value("warden_reverts_total") == 0


def test_an_abandoned_drill_without_a_fault_costs_nothing(world):
    world.consul.expire(world.lease.session)
    turn(world, 3)
    outcome = entry(world).outcome
    assert (outcome["state"], outcome["healthy"]) == ("already", True)
    assert world.versions() == 0


def test_a_drill_that_was_only_asleep_and_injects_late_is_reverted_at_the_next_turn(world, recipe):
    turn(world)
    world.consul.expire(world.lease.session)
    turn(world, 3)
    STOP.inject(world.cluster, recipe)
    turn(world)
    assert world.runs()
    assert entry(world).outcome["state"] == "reverted"


def test_nothing_is_kept_in_memory(world, recipe):
    for step in range(6):
        world.start_warden()
        if step == 2:
            STOP.inject(world.cluster, recipe)
            world.consul.expire(world.lease.session)
        turn(world)
    assert world.runs()
    assert entry(world).outcome["healthy"]
    assert entry(world).ack


def test_after_the_deadline_a_service_that_was_put_back_is_left_alone(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.consul.expire(world.lease.session)
    turn(world, 3)
    world.clock.sleep(200)
    turn(world)
    calls = len(world.nomad.calls)
    turn(world, 3)
    assert {name for name, _ in world.nomad.calls[calls:]} == {"variable"}


def test_a_service_that_is_not_back_yet_is_looked_at_after_the_deadline_too(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.clock.sleep(200)
    world.nomad.failures["register_job"] = Unreachable("away", hint="")
    turn(world, 3)
    assert not world.runs()
    world.nomad.failures.clear()
    turn(world, 2)
    assert world.runs()
    assert entry(world).outcome["healthy"]


@pytest.mark.parametrize("late", [False, True])
def test_an_operators_later_stop_is_not_fought(world, recipe, late):
    STOP.inject(world.cluster, recipe)
    world.consul.expire(world.lease.session)
    turn(world, 3)
    if late:
        world.clock.sleep(200)
    world.nomad.stop_job(JOB_ID)
    turn(world, 3)
    assert not world.runs()


def test_a_deploy_is_not_overwritten(world, recipe):
    STOP.inject(world.cluster, recipe)
    world.nomad.register_job({**JOB, "Priority": 70})
    world.consul.expire(world.lease.session)
    turn(world, 3)
    assert world.nomad.job(JOB_ID)["Priority"] == 70
    assert entry(world).outcome["state"] == "already"


@pytest.mark.parametrize("value", [b"{", b"[" * 100_000, b'{"recipe": {"drill": 1}}'])
def test_an_entry_that_is_not_signed_is_named_once_counted_and_left(world, caplog, value):
    key = recipes.key(STACK, "0-forged\n")
    world.consul.put(key, value)
    for _ in range(3):
        world.warden.take()
    assert entry(world).ack
    assert world.consul.get(key).value == value
    assert (metric(world, "warden_entries_left"), metric(world, "warden_recipes")) == (1, 1)
    assert metric(world, "warden_failures_total") == 0
    assert world.warden.why_not_ready() == ""
    assert [record.message for record in caplog.records if "0-forged" in record.message] == [
        f"Consul's key {key!r} is left alone: it is not signed: forged, or of an obsctl before signatures"
    ]


def test_an_entry_that_was_only_just_made_is_not_called_forged(world, caplog):
    world.consul.put(recipes.key(STACK, DRILL_ID), world.consul.called("put")[0][1])
    turn(world)
    assert entry(world).is_reserved
    assert metric(world, "warden_entries_left") == 0
    assert DRILL_ID not in caplog.text


def test_a_fault_of_a_newer_obsctl_is_never_acknowledged(world):
    recipes.write(world.cluster, world.recipe(drill="0-newer", fault="flood"))
    turn(world, 2)
    newer, ours = recipes.read(world.cluster)
    assert (newer.ack, bool(ours.ack)) == (None, True)
    assert metric(world, "warden_failures_total") == 0


def test_a_forged_recipe_registers_and_starts_nothing(world):
    """An operator stopped the job, and no drill runs."""
    recipes.remove(world.cluster, DRILL_ID)
    recipe = world.recipe(deadline=0.0)
    world.nomad.stop_job(JOB_ID)
    forged = json.dumps({"recipe": recipe.to_dict(), "ack": None, "outcome": None}).encode()
    for value in (forged, b"0" * 64 + b"\n" + forged):
        for drill in (DRILL_ID, "../../../agent/leave"):
            world.consul.forge(recipes.key(STACK, drill), value)
        turn(world, 3)
    assert not world.runs()
    assert not [call for call in world.nomad.calls if call[0] == "register_job" and call[1][0].get("Stop") is False]
    assert len(world.consul.called("put")) == 2, "the warden wrote nothing: these are the reservation and the recipe"


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "still there"])
def test_an_old_entry_that_is_written_again_starts_nothing(world, recipe, removed):
    """The drill died before its fault. Then an operator stopped the job, as that fault would have done."""
    old = world.consul.get(recipes.key(STACK, DRILL_ID)).value
    world.consul.expire(world.lease.session)
    turn(world, 2)
    world.clock.sleep(200)
    turn(world)
    if removed:
        recover(world.cluster, entry(world), recipe)
    world.nomad.stop_job(JOB_ID)
    world.consul.put(recipes.key(STACK, DRILL_ID), old)
    turn(world, 3)
    assert not world.runs()


def test_a_promise_that_cannot_be_kept_is_not_given(world):
    world.nomad.failures["plan_job"] = Forbidden("403", hint="")
    turn(world)
    assert entry(world).ack is None
    assert metric(world, "warden_failures_total") == 1


def test_a_drill_that_cannot_be_served_keeps_no_other_from_being_served(world, recipe):
    session = world.consul.create_session("another drill", ttl=10)
    recipes.write(world.cluster, world.recipe(drill="0-other", session=session))  # its job is not kept
    STOP.inject(world.cluster, recipe)
    world.consul.expire(world.lease.session)
    turn(world, 2)
    assert world.runs()
    assert metric(world, "warden_failures_total") == 2


def test_a_revert_comes_before_a_word_about_it(world, recipe):
    """Consul takes no writes: no acknowledgement, no outcome, but the service runs."""
    STOP.inject(world.cluster, recipe)
    world.consul.expire(world.lease.session)
    world.consul.failures["put"] = Unreachable("no leader", hint="")
    turn(world)
    assert world.runs()
    world.consul.failures.clear()
    turn(world, 2)
    assert entry(world).outcome["healthy"]


def test_an_entry_that_a_drill_removed_meanwhile_is_not_brought_back(world):
    watch = world.consul.watch

    def too_late(*args, **kwargs):
        answer = watch(*args, **kwargs)
        recipes.remove(world.cluster, DRILL_ID)
        return answer

    world.consul.watch = too_late
    turn(world)
    assert world.entries() == []
    assert metric(world, "warden_failures_total") == 0


def test_it_is_ready_only_while_its_turns_are_good(world):
    assert world.warden.why_not_ready() != ""
    world.warden.take()
    assert world.warden.why_not_ready() == ""
    world.nomad.failures["*"] = Unreachable("away", hint="")
    world.consul.expire(world.lease.session)
    world.clock.sleep(STALE + 1)
    world.warden.take()
    assert "16 s ago" in world.warden.why_not_ready()


@pytest.mark.parametrize("error", [Unreachable("away", hint=""), KeyError("a bug")])
def test_an_error_does_not_end_the_loop(world, recipe, error):
    """Its thread, with real turns: what fails is counted, and the next turn does the work."""
    STOP.inject(world.cluster, recipe)
    world.consul.expire(world.lease.session)
    ended, watch, failed = threading.Event(), world.consul.watch, []

    def fail_first(*args, **kwargs):
        if len(failed) < 2:
            failed.append(1)
            raise error
        if world.runs():
            ended.set()
        return watch(*args, **kwargs)

    world.consul.watch = fail_first
    wait = ended.wait
    ended.wait = lambda seconds: wait(0)
    world.warden.run(ended)
    assert world.runs()
    assert metric(world, "warden_failures_total") == 2
