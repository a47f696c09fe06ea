import pytest

from obsctl.drills.run.guard import OUTAGE, Guard, insist
from obsctl.errors import Interrupted, ObsctlError, Unreachable
from tests.drill_world import DrillWorld


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


@pytest.fixture
def guard(world):
    return Guard(world.world, world.lease, deadline=world.clock.now() + 100)


def away_until(world, seconds):
    back = world.clock.now() + seconds

    def probe():
        if world.clock.now() < back:
            raise Unreachable("Prometheus is away", hint="start it")
        return "seen"

    return probe


def test_what_comes_is_returned_and_what_does_not_is_none(world, guard):
    due = world.clock.now() + 5
    assert guard.wait_for(lambda: world.clock.now() >= due and "seen", until=due + 1) == "seen"
    assert guard.wait_for(lambda: None, until=world.clock.now() + 5) is None


def test_a_moment_that_has_passed_is_looked_at_once(world, guard):
    assert guard.wait_for(lambda: "seen", until=world.clock.now() - 5) == "seen"


def test_a_short_outage_is_sat_out(world, guard):
    assert guard.wait_for(away_until(world, OUTAGE - 1), until=world.clock.now() + 30) == "seen"


def test_a_long_outage_ends_the_wait_and_names_the_server(world, guard):
    began = world.clock.now()
    with pytest.raises(ObsctlError, match="Prometheus is away"):
        guard.wait_for(away_until(world, 60), until=began + 60)
    assert world.clock.now() - began <= OUTAGE + 1


def test_two_short_outages_are_not_one_long_one(world, guard):
    assert guard.wait_for(away_until(world, OUTAGE - 1), until=world.clock.now() + 30) == "seen"
    world.clock.sleep(OUTAGE)
    assert guard.wait_for(away_until(world, OUTAGE - 1), until=world.clock.now() + 30) == "seen"


def test_not_looking_when_it_counted_is_no_proof_of_absence(world, guard):
    with pytest.raises(ObsctlError, match="Prometheus is away"):
        guard.wait_for(away_until(world, 60), until=world.clock.now() + 3)


def test_a_request_to_stop_the_lost_lock_and_the_deadline_each_end_it(world, guard):
    world.interrupted = True
    with pytest.raises(Interrupted):
        guard.check()
    world.interrupted = False
    guard.check()
    world.clock.sleep(101)
    with pytest.raises(ObsctlError, match="the deadline has passed"):
        guard.check()
    after = Guard(world.world, world.lease)
    after.check()
    world.lease.lost.set()
    with pytest.raises(ObsctlError, match="the lock of the stack was lost"):
        after.check()


def test_consul_knows_better_than_we_whether_the_lock_is_held(world, guard):
    guard.check_lock()
    world.consul.expire(world.lease.session)
    guard.check()
    with pytest.raises(ObsctlError, match="the lock of the stack was lost"):
        guard.check_lock()


def test_insisting_outlasts_errors_and_bugs(world):
    answers = iter([Unreachable("away", hint=""), KeyError("a bug"), None, "done"])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert insist(call, failure="the call did not succeed", timeout=10, clock=world.clock) == "done"


def test_insisting_in_vain_tells_the_last_failure(world):
    with pytest.raises(ObsctlError, match="the call did not succeed within 10 s: Prometheus is away"):
        insist(away_until(world, 60), failure="the call did not succeed", timeout=10, clock=world.clock)


def test_what_keeps_a_fault_up_is_called_about_once_a_second_while_the_lock_is_held(world):
    calls = []
    guard = Guard(world.world, world.lease, sustain=lambda: calls.append(world.clock.now()))
    began = world.clock.now()
    guard.wait_for(lambda: None, until=began + 10)
    assert 10 <= len(calls) <= 11
    world.consul.destroy_session(world.lease.session)
    with pytest.raises(ObsctlError, match="lock"):
        guard.wait_for(lambda: None, until=world.clock.now() + 10)
    assert len(calls) <= 11


def test_what_cannot_be_kept_up_for_long_ends_the_drill(world):
    def fail():
        raise Unreachable("Nomad does not answer", hint="")

    guard = Guard(world.world, world.lease, sustain=fail)
    with pytest.raises(ObsctlError, match="can no longer watch: Nomad does not answer"):
        guard.wait_for(lambda: None, until=world.clock.now() + 60)
