import pytest

from obsctl.drills.faults.stop import FAULT as STOP
from obsctl.drills.tell.verdict import judge
from obsctl.errors import Forbidden, TimedOut, Unreachable
from tests.drill_world import JOB, JOB_ID, DrillWorld


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def assert_put_back(world):
    assert world.runs()
    assert world.entries() == []
    assert world.kinds()[-1] == "finished"
    assert [r.line() for r in world.on_disk()] == [r.line() for r in world.journal.records]


def test_a_sound_alert_is_proven_and_everything_is_as_before(world):
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("PROVEN", 0), verdict.reason
    assert [stage.name for stage in verdict.stages] == ["pending", "firing", "delivered", "cleared", "resolved"]
    assert_put_back(world)


def test_the_journal_holds_every_state_in_order(world):
    world.run()
    stages = [r.data["stage"] if r.kind == "stage" else r.kind for r in world.journal.records]
    assert stages == [
        "started", "gate", "intent", "armed", "receivers", "injecting", "injected", "pending", "firing", "firing",
        "delivered", "receivers", "reverting", "reverted", "recovered", "cleared", "cleared", "resolved", "receivers",
        "steady", "finished",
    ]  # fmt: skip


def test_the_recipe_is_on_disk_before_it_is_in_consul_and_there_before_anything_is_touched(world):
    world.run()
    order = [
        "journal.intent",
        "nomad.put_variable",
        "consul.put",
        "consul.put",
        "journal.armed",
        "journal.injecting",
        "nomad.stop_job",
    ]
    assert [step for step in world.steps if step in order] == order


def test_what_is_not_steady_stops_the_drill_before_anything_is_written_to_the_cluster(world):
    world.prometheus.alertmanager_urls = []
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("NOT_STEADY", 20)
    assert [finding["where"] for finding in world.data("gate")["findings"]] == ["alert path"]
    assert not world.consul.called("put")
    assert world.versions() == 0


@pytest.mark.parametrize(
    ("wardens", "clients", "told"),
    [(["node-1"], ["node-1", "node-2"], True), (["node-1"], ["node-1"], False),
     (["node-1", "node-2"], ["node-1", "node-2"], False), (["node-2"], ["node-1", "node-2"], False)],
)  # fmt: skip
def test_a_warden_that_would_be_lost_with_the_service_is_told_where_another_could_be(world, wardens, clients, told):
    for service, nodes in (("warden", wardens), ("nomad-client", clients)):
        for node in nodes:
            world.consul.register(service, instance=f"{service}-{node}", node=node)
    assert world.run().outcome == "PROVEN"
    notes = [event.text for event in world.events if (event.subject, event.state) == ("warden", "note")]
    assert notes == [
        "the warden is on node-1, as response is: with that node both would be lost; components.warden.count: 2 puts "
        "another on another node"
    ] * told  # fmt: skip


def test_a_warden_that_does_not_acknowledge_stops_the_drill_before_anything_is_touched(world):
    world.warden_lives = False
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("NOT_STEADY", 20)
    assert world.kinds()[-2:] == ["intent", "not_armed"]
    assert (world.versions(), world.entries()) == (0, [])


def test_a_warden_that_may_not_start_the_job_does_not_acknowledge(world):
    world.nomad.failures["plan_job"] = Forbidden("Nomad answered 403", hint="")
    assert world.run().outcome == "NOT_STEADY"
    assert (world.versions(), world.entries()) == (0, [])


def test_a_warden_that_acknowledges_too_late_leaves_no_entry_behind(world):
    world.warden_lives = False

    def look_first_and_write_last(number, name):
        if name == "consul.entries":
            seen[:] = world.entries()
        if name == "journal.not_armed":
            world.consul.watch = lambda prefix, **_: (1, seen)
            world.warden.turn()

    seen = []
    world.on_step = look_first_and_write_last
    world.run()
    assert len(seen) == 1
    assert world.entries() == []


def expire_at(world, step):
    """Consul ends the session at this step; the thread that keeps the lock has not seen it yet."""
    world.on_step = lambda number, name: name == step and world.consul.expire(world.lease.session)


def test_a_lock_that_was_lost_while_we_stood_still_keeps_the_fault_from_being_injected(world):
    expire_at(world, "journal.injecting")
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("ABORTED", 30)
    assert world.lease.lost.is_set()
    assert not world.nomad.called("stop_job")
    assert_put_back(world)


def test_a_lock_that_is_lost_while_the_fault_is_injected_ends_the_drill_at_once(world):
    expire_at(world, "nomad.stop_job")
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("ABORTED", 30)
    assert "injected" not in world.kinds()
    assert_put_back(world)


def test_nomad_refusing_the_stop_is_not_injected(world):
    world.nomad.failures["stop_job"] = Forbidden("Nomad answered 403", hint="")
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("NOT_INJECTED", 22)
    assert "403" in verdict.reason
    assert_put_back(world)


def test_a_stop_without_effect_is_not_injected_and_reverted(world):
    world.nomad.stop_job = lambda job_id: "an evaluation"
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("NOT_INJECTED", 22)
    assert world.data("reverted")["state"] == "already"
    assert_put_back(world)


def test_a_stop_whose_answer_was_lost_and_that_takes_effect_later_is_still_seen_and_reverted(world):
    stop = world.nomad.stop_job

    def slow(job_id):
        world.clock.after(20, lambda: stop(job_id))
        raise TimedOut("Nomad did not answer", hint="")

    world.nomad.stop_job = slow
    assert world.run().outcome == "PROVEN"
    assert_put_back(world)


def test_a_job_that_somebody_deployed_since_the_gate_is_not_stopped(world):
    def deploy(number, name):
        if name == "journal.injecting":
            world.nomad.register_job({**JOB, "Priority": 70})

    world.on_step = deploy
    verdict = world.run()
    assert verdict.outcome == "NOT_INJECTED"
    assert not world.nomad.called("stop_job")
    assert world.nomad.job(JOB_ID)["Priority"] == 70


def test_the_fault_is_held_for_as_long_as_asked(world):
    world.run(hold=30)
    delivered = next(r.at for r in world.journal.records if r.kind == "stage" and r.data["stage"] == "delivered")
    reverting = next(r.at for r in world.journal.records if r.kind == "reverting")
    assert reverting - delivered == pytest.approx(30, abs=0.5)


def test_a_deadline_ends_the_drill_before_the_warden_has_to(world):
    verdict = world.run(deadline=8, hold=60)
    assert verdict.outcome == "ABORTED"
    assert world.data("reverting") is not None
    assert world.registry.get_sample_value("warden_reverts_total") == 0
    assert_put_back(world)


def test_the_deadline_leaves_room_for_every_step(world):
    stop, turn = world.nomad.stop_job, world.warden.turn
    start = world.clock.now()
    world.warden.turn = lambda wait: world.clock.now() > start + 13 and turn(wait=wait)
    world.nomad.stop_job = lambda job_id: world.clock.after(55, lambda: stop(job_id))
    world.alerts.delay = 30
    assert world.run().outcome == "LATE"
    assert world.registry.get_sample_value("warden_reverts_total") == 0


def test_nomad_away_during_the_revert_is_asked_until_it_is_back(world):
    def leave(number, name):
        if name == "journal.reverting":
            world.nomad.failures["*"] = Unreachable("Nomad is away", hint="")
            world.clock.after(60, world.nomad.failures.clear)

    world.on_step = leave
    verdict = world.run(deadline=500)
    assert world.data("reverted")["back_at"] - world.data("reverted")["requested_at"] >= 60
    assert verdict.outcome in ("PROVEN", "LATE")
    assert_put_back(world)


def test_a_revert_that_nomad_never_takes_has_failed_and_the_recipe_stays_for_the_warden(world):
    def leave(number, name):
        if name == "journal.reverting":
            world.nomad.failures["register_job"] = Forbidden("Nomad answered 403", hint="")

    world.on_step = leave
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("REVERT_FAILED", 40)
    assert "403" in verdict.reason
    assert world.data("revert_failed")["commands"][0] == f"nomad job start {JOB_ID}"
    assert len(world.entries()) == 1
    world.nomad.failures.clear()
    world.consul.expire(world.lease.session)
    world.pass_time(10)
    assert world.runs()


def test_a_deploy_during_the_drill_is_left_alone(world):
    def deploy(number, name):
        if name == "say.firing.ok":
            world.nomad.register_job({**JOB, "Priority": 70})

    world.on_step = deploy
    world.run()
    assert world.data("reverted")["state"] == "already"
    assert world.nomad.job(JOB_ID)["Priority"] == 70
    assert world.entries() == []


def test_a_job_that_an_operator_stopped_too_stays_stopped_and_it_is_said(world):
    def stop(number, name):
        if name == "say.firing.ok":
            world.nomad.stop_job(JOB_ID)

    world.on_step = stop
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("ABORTED", 30)
    assert world.data("reverted")["state"] == "superseded"
    assert not world.runs()
    assert world.entries() == []


def test_obsctl_and_the_warden_may_revert_at_the_same_moment(world):
    """Both have read the stopped job when the first of them registers it."""
    recipe = []

    def revert_too(number, name):
        if name == "nomad.register_job":
            recipe.append(world.entry().recipe)
            assert STOP.revert(world.cluster, recipe[0]).state == "reverted"

    world.on_step = revert_too
    assert world.run().outcome == "PROVEN"
    assert len(recipe) == 1
    assert world.data("reverted")["state"] == "already"
    assert world.versions() == 2
    assert_put_back(world)


def test_judging_the_journal_on_disk_gives_the_same_verdict(world):
    verdict = world.run()
    again = judge(world.on_disk())
    assert (again.outcome, again.reason) == (verdict.outcome, verdict.reason)
