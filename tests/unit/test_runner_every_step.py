"""Something goes wrong at each step of a drill in turn: every call to a server, every record, every line said."""

import os

import pytest

from obsctl.drills.recipes import read as read_recipes
from obsctl.drills.recipes import remove as remove_recipe
from obsctl.drills.run.reverting import finish_journal, recover
from obsctl.drills.tell.verdict import judge
from obsctl.errors import ObsctlError, ServerFailed, TimedOut, Unreachable
from tests.drill_world import JOB, JOB_ID, STACK, DrillWorld


class Killed(BaseException):
    """kill -9: nothing that obsctl would do after this happens."""


def steps(tmp_path_factory):
    world = DrillWorld(tmp_path_factory.mktemp("whole"))
    world.run()
    return world.steps


def recover_all(world):
    """As obsctl drill recover does it."""
    for entry in read_recipes(world.cluster):
        if entry.is_reserved:
            remove_recipe(world.cluster, entry.drill)
        else:
            yield recover(world.world, entry, entry.recipe)


@pytest.fixture
def at_each_step(tmp_path_factory):
    """Runs a drill for each step of a whole one, with `fail(world, name)` called when that step is reached."""

    def run(fail, check, *, only=lambda name: True, **options):
        names = steps(tmp_path_factory)
        reached = [number for number, name in enumerate(names) if only(name)]
        assert len(reached) >= 1
        for number in reached:
            world = DrillWorld(tmp_path_factory.mktemp("drill"))
            world.failed_at = f"step {number}: {names[number]}"
            world.on_step = lambda now, name, world=world, number=number: now == number and fail(world, name)
            world.error = None
            try:
                world.run(**options)
            except BaseException as error:
                world.error = error
            world.on_step = lambda number, name: None
            check(world)

    return run


def assert_clean(world):
    """Nothing is left behind: the job runs, Consul holds nothing, and the journal tells all of it."""
    assert world.runs(), world.failed_at
    assert world.entries() == [], world.failed_at
    kinds = world.kinds() if world.journal else []
    if "armed" not in kinds:
        assert not world.nomad.called("stop_job"), world.failed_at
    else:
        assert kinds.count("reverted") == 1, (world.failed_at, kinds)
        assert judge(world.journal.records).outcome != "REVERT_FAILED", world.failed_at
    if kinds:
        assert [r.line() for r in world.on_disk()] == [r.line() for r in world.journal.records], world.failed_at


def test_ctrl_c_at_any_step_puts_everything_back(at_each_step):
    def interrupt(world, name):
        world.interrupted = True

    def check(world):
        assert_clean(world)
        ended = world.journal is None or "armed" not in world.kinds() or "steady" in world.kinds()
        if not ended:
            assert judge(world.journal.records).outcome == "ABORTED", world.failed_at

    at_each_step(interrupt, check)


def test_a_lock_that_is_lost_at_any_step_puts_everything_back(at_each_step):
    def lose(world, name):
        world.consul.expire(world.lease.session)
        world.clock.after(3, world.lease.lost.set)

    at_each_step(lose, assert_clean)


def test_a_bug_at_any_step_puts_everything_back_and_is_not_hidden(at_each_step):
    def bug(world, name):
        raise RuntimeError("a bug")

    def check(world):
        assert_clean(world)
        survived = world.journal and "reverted" in world.kinds() and "aborted" not in world.kinds()
        assert survived or isinstance(world.error, RuntimeError), world.failed_at

    # The journal and the terminal say what fails in their own words.
    at_each_step(bug, check, only=lambda name: not name.startswith(("journal.", "say.")))


@pytest.mark.parametrize("error", [Unreachable, TimedOut, ServerFailed])
def test_one_call_that_fails_at_any_step_leaves_nothing_behind(at_each_step, error):
    def blip(world, name):
        raise error(f"{name} failed", hint="")

    at_each_step(blip, assert_clean, only=lambda name: not name.startswith(("say.", "journal.")))


@pytest.mark.parametrize("error", [Unreachable, TimedOut, ServerFailed])
def test_a_call_that_fails_when_it_is_done_leaves_nothing_behind(at_each_step, error):
    """The server did it, and its answer was lost."""

    def lose_answer(world, name):
        server, _, method = name.partition(".")
        if method == "stop_job":
            world.nomad.stop_job(JOB_ID)
        elif method == "register_job":
            world.nomad.register_job(JOB)
        elif method == "delete":
            world.consul.delete_tree(f"obsctl/{STACK}/drills/")
        raise error(f"{server}: the answer was lost", hint="")

    writes = ("nomad.stop_job", "nomad.register_job", "consul.delete")
    at_each_step(lose_answer, assert_clean, only=lambda name: name in writes)


@pytest.mark.parametrize("server", ["nomad", "consul", "prometheus", "alertmanager", "sink"])
@pytest.mark.parametrize("seconds", [5, 60])
def test_a_server_that_is_away_for_a_while_leaves_nothing_behind(at_each_step, server, seconds):
    def leave(world, name):
        failures = getattr(world, server).failures
        failures["*"] = Unreachable(f"{server} is away", hint="")
        world.clock.after(seconds, failures.clear)

    def check(world):
        world.pass_time(seconds)
        if world.entries():  # one of the two was away when the recipe had to go
            assert server in ("consul", "nomad"), world.failed_at
            assert any("recover" in event.text for event in world.events), world.failed_at
            list(recover_all(world))
        if world.journal and "revert_failed" not in world.kinds():
            assert_clean(world)
        assert world.runs(), world.failed_at

    at_each_step(leave, check, only=lambda name: name.startswith(server))


def test_a_disk_that_is_full_from_any_record_on_puts_everything_back(at_each_step, monkeypatch):
    def fill(world, name):
        world.journal.fill_disk()

    def check(world):
        assert world.runs(), world.failed_at
        assert world.entries() == [], world.failed_at
        kinds = world.kinds()
        if "armed" not in kinds or "not_armed" in kinds:
            assert isinstance(world.error, ObsctlError), world.failed_at
            assert "cannot be written" in world.error.message
            assert not world.nomad.called("stop_job"), world.failed_at
        elif "steady" not in kinds:
            assert judge(world.journal.records).outcome == "ABORTED", world.failed_at
            assert any(event.subject == "journal" for event in world.events), world.failed_at

    monkeypatch.setattr(os, "ftruncate", lambda *_: None)  # a device cannot be truncated; a full disk can
    at_each_step(fill, check, only=lambda name: name.startswith("journal."))


def test_a_terminal_that_closes_at_any_line_changes_nothing(at_each_step):
    def close(world, name):
        def gone(number, name):
            if name.startswith("say."):
                raise BrokenPipeError("gone")

        world.on_step = gone
        gone(0, name)

    def check(world):
        assert_clean(world)
        assert judge(world.journal.records).outcome == "PROVEN", world.failed_at

    at_each_step(close, check, only=lambda name: name.startswith("say."))


def test_after_kill_9_at_any_step_the_warden_puts_the_service_back_and_recover_ends_the_journal(at_each_step):
    def kill(world, name):
        def dead(number, name):
            raise Killed

        world.on_step = dead
        raise Killed

    def check(world):
        world.clock.after(20, lambda: world.consul.expire(world.lease.session))
        world.pass_time(30)
        assert world.runs(), world.failed_at
        for done in recover_all(world):
            finish_journal(world.folder, done)
        assert world.entries() == [], world.failed_at
        if world.journal and "armed" in world.kinds() and "reverted" not in world.kinds():
            verdict = judge(world.on_disk())
            assert verdict.outcome == "ABORTED", (world.failed_at, verdict)
            assert world.on_disk()[-1].kind == "recovered", world.failed_at

    at_each_step(kill, check)


@pytest.mark.parametrize("seconds", [8, 40, 400])
def test_a_process_that_stands_still_at_any_step_leaves_nothing_behind(at_each_step, seconds):
    """SIGSTOP, a laptop that sleeps: Consul ends the session after 20 s, and obsctl goes on as if nothing were."""

    def stand_still(world, name):
        world.clock.after(20, lambda: seconds > 20 and world.consul.expire(world.lease.session))
        world.clock.sleep(seconds)
        if seconds > 20:
            world.clock.after(1, world.lease.lost.set)  # the thread that keeps the lock wakes up too

    at_each_step(stand_still, assert_clean)
