"""What the alert does during a drill, and what the drill makes of it."""

from dataclasses import replace

import pytest

from obsctl.drills.run.runner import Options
from obsctl.drills.tell import report
from obsctl.errors import Unreachable
from tests.drill_world import LABELS, SERVICE, DrillWorld, iso


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def assert_put_back(world):
    assert world.runs()
    assert world.entries() == []
    assert world.kinds()[-1] == "finished"


def made_folder(path):
    path.mkdir()
    return path


def missed(world):
    """The alert and the stage that the journal has as missed."""
    return world.data("missed")["alert"], world.data("missed")["stage"]


def test_a_rule_that_stays_quiet_is_missed_at_pending(world):
    world.alerts.rule = lambda is_up: False
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("MISSED", 10)
    assert missed(world) == ("ServiceDown response", "pending")
    assert_put_back(world)


def test_the_reason_of_a_miss_tells_whether_prometheus_still_scrapes_the_service(tmp_path):
    reasons = set()
    for scrapes in (True, False):
        world = DrillWorld(made_folder(tmp_path / str(scrapes)))
        world.alerts.rule = lambda is_up: False
        if scrapes:
            world.alerts.scrape = lambda: None  # it goes on seeing what it saw last
        world.run(margin=0)
        reasons.add(world.data("missed")["why"])
    assert len(reasons) == 2


def test_a_rule_that_flaps_is_missed_at_firing(world):
    start = world.clock.now()
    world.alerts.rule = lambda is_up: not is_up and (world.clock.now() - start) % 8 > 1
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("MISSED", 10)
    assert missed(world) == ("ServiceDown response", "firing")
    assert_put_back(world)


def test_an_alert_that_fires_and_is_not_delivered_is_undelivered_with_the_broken_link(world):
    world.alerts.delivers = lambda status: False
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("UNDELIVERED", 11)
    assert missed(world) == ("ServiceDown response", "delivered")
    assert_put_back(world)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"silencedBy": ["abc"], "inhibitedBy": []}, "the silence abc covers it"),
        ({"silencedBy": [], "inhibitedBy": ["1", "2"]}, "ConsulServerLost, NodeDown inhibits it"),
        ({"silencedBy": [], "inhibitedBy": [], "mutedBy": ["nights"]}, "muted now by the time interval nights"),
        ({"silencedBy": [], "inhibitedBy": []}, "the receiver did not get it"),
    ],
)
def test_what_alertmanager_holds_it_back_for_is_named(world, status, why):
    world.alerts.delivers = lambda status: False
    others = {"1": "NodeDown", "2": "ConsulServerLost", "3": "Watchdog"}

    def hold_back(number, name):
        if name == "journal.injected":
            world.alertmanager.active_alerts = [
                {"labels": LABELS, "status": status, "fingerprint": "0"},
                *({"labels": {"alertname": each}, "status": {}, "fingerprint": key} for key, each in others.items()),
            ]
        if name == "journal.reverting":
            world.alertmanager.active_alerts = []

    world.on_step = hold_back
    world.run()
    assert missed(world) == ("ServiceDown response", "delivered")
    assert why in world.data("missed")["why"]


def test_a_silence_that_alertmanager_holds_no_alert_for_is_named_too(world):
    def silence(number, name):
        if name == "journal.injected":
            world.alertmanager.silence(LABELS, until=world.clock.now() + 60, comment="")
        if name == "journal.reverting":
            world.alertmanager.active_silences = []

    world.on_step = silence
    world.run()
    assert "the silence silence-0 covers it" in world.data("missed")["why"]


def test_an_end_that_is_not_delivered_is_unresolved(world):
    world.alerts.delivers = lambda status: status == "firing"
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("UNRESOLVED", 12)
    assert missed(world) == ("ServiceDown response", "resolved")
    assert_put_back(world)


def test_an_alert_that_ends_before_anything_was_put_back_is_a_false_resolve(world):
    fired = world.clock.now() + 20
    world.alerts.rule = lambda is_up: not is_up and world.clock.now() < fired
    verdict = world.run(hold=30)
    assert (verdict.outcome, verdict.exit_code) == ("FALSE_RESOLVE", 12)
    cleared = [r.data["at"] for r in world.journal.records if r.kind == "stage" and r.data["stage"] == "cleared"]
    assert cleared[-1] < world.data("reverted")["requested_at"]
    assert_put_back(world)


@pytest.mark.parametrize("alertname", ["InstanceDown", "JobNotRunning"])
def test_an_alert_of_the_service_itself_may_fire(world, alertname):
    """Prometheus scrapes a target for a moment after its end, and before a new one listens."""
    own = {"alertname": alertname, "service": SERVICE, "severity": "warning"}
    world.clock.after(5, lambda: world.alerts.fired.append(own))
    assert world.run().outcome == "PROVEN"
    assert own in world.data("steady")["fired"]


def test_an_alert_that_should_not_fire_is_collateral(world):
    stranger = {"alertname": "InstanceDown", "service": "another"}
    world.clock.after(5, lambda: world.alerts.fired.append(stranger))
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("COLLATERAL", 14)
    assert stranger in world.data("steady")["fired"]
    assert stranger not in world.data("gate")["active"]


@pytest.mark.parametrize("state", ["pending", "firing"])
def test_an_alert_that_was_active_before_is_no_collateral(world, state):
    old = {"alertname": "DiskFull", "service": "nomad"}
    world.alerts.fired.append(old)
    world.alerts.alerts = lambda: [{"labels": old, "state": state, "activeAt": iso(0)}, *now()]
    now = type(world.alerts).alerts.__get__(world.alerts)
    world.alerts.evaluate()
    assert world.run().outcome == "PROVEN"


def linger(world, seconds, instance="10.0.0.1:80"):
    """After the fault an alert of one instance fires, and ends so many seconds later."""
    ended = []
    labels = {"alertname": "InstanceDown", "service": SERVICE, "instance": instance}
    own = world.alerts.alerts
    ghost = {"labels": labels, "state": "firing", "activeAt": iso(0)}
    world.alerts.alerts = lambda: [*([ghost] if "injected" in world.kinds() and not ended else []), *own()]
    world.clock.after(seconds, lambda: ended.append(True))


def waits(world):
    return [event.text for event in world.events if event.subject == "waiting"]


def test_while_it_waits_to_be_steady_again_it_says_for_what(world):
    linger(world, 120)
    world.run()
    text = "not steady again yet: alert InstanceDown of 10.0.0.1:80: it is firing already"
    assert waits(world) == [text]
    assert world.data("waiting") == {"why": "alert InstanceDown of 10.0.0.1:80: it is firing already"}
    assert "waiting to be steady again: alert InstanceDown of 10.0.0.1:80" in report.text(world.on_disk())


def test_it_says_nothing_of_what_is_over_in_a_moment(world):
    world.run()
    assert waits(world) == []


def test_what_is_not_steady_when_the_time_is_over_is_in_the_verdict(world):
    linger(world, 3600)
    verdict = world.run()
    assert verdict.outcome == "UNRESOLVED"
    assert "not steady again: alert InstanceDown of 10.0.0.1:80: it is firing already" in verdict.reason


def test_a_delivery_after_its_band_is_late(world):
    world.alerts.delay = 20
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("LATE", 13)
    late = next(stage for stage in verdict.stages if not stage.in_band)
    assert (late.name, late.seconds, late.band.maximum) == ("delivered", pytest.approx(32), pytest.approx(18.2))
    assert_put_back(world)


def test_the_late_end_of_an_earlier_alert_is_not_taken_for_ours(world):
    before = world.clock.now() - 60
    times = {"startsAt": iso(before), "endsAt": iso(before + 30)}
    world.clock.after(4, lambda: world.alerts.deliver("resolved", LABELS, **times))
    assert world.run().outcome == "PROVEN"


def test_prometheus_away_when_a_stage_was_due_aborts_instead_of_claiming_a_miss(world):
    def leave(number, name):
        if name == "say.injected.ok":
            world.clock.after(25, lambda: world.prometheus.failures.update({"*": Unreachable("away", hint="")}))

    world.alerts.rule = lambda is_up: False
    world.on_step = leave
    verdict = world.run(margin=25)
    assert (verdict.outcome, verdict.exit_code) == ("ABORTED", 30)
    assert "away" in world.data("aborted")["reason"]
    assert "missed" not in world.kinds()
    assert_put_back(world)


def test_a_service_that_does_not_come_back_to_prometheus_is_unresolved_and_not_aborted(world):
    def forget(number, name):
        if name == "journal.reverted":
            world.prometheus.active_targets = []
            world.alerts.scrape = lambda: None

    world.on_step = forget
    verdict = world.run()
    assert verdict.outcome == "UNRESOLVED"
    assert missed(world) == ("", "recovered")


def stages(world, alert):
    return [r.data["stage"] for r in world.journal.records if r.kind == "stage" and r.data["alert"] == alert]


WHOLE = ["pending", "firing", "firing", "delivered", "cleared", "cleared", "resolved"]


def test_every_expected_alert_is_watched_at_the_same_time(world):
    world.expect("JobNotRunning")
    verdict = world.run()
    assert verdict.outcome == "PROVEN", verdict.reason
    assert [stage.alert for stage in verdict.stages] == ["ServiceDown response"] * 5 + ["JobNotRunning"] * 5
    assert stages(world, "ServiceDown response") == stages(world, "JobNotRunning") == WHOLE
    assert_put_back(world)


def test_a_slow_alert_is_waited_for_when_a_fast_one_is_through(world):
    world.expect("SlowlyDown", pending=60)
    verdict = world.run()
    assert verdict.outcome == "PROVEN", verdict.reason
    took = {(stage.alert, stage.name): stage.seconds for stage in verdict.stages}
    assert took["SlowlyDown", "firing"] - took["ServiceDown response", "firing"] == pytest.approx(50, abs=2)
    assert took["SlowlyDown", "firing"] > took["ServiceDown response", "delivered"] + 30


@pytest.mark.parametrize("first", [True, False])
def test_one_alert_that_stays_quiet_is_missed_and_hides_no_other(world, first):
    second = world.expect("JobNotRunning")
    (world.alerts if first else second).rule = lambda is_up: False
    quiet, other = ("ServiceDown response", "JobNotRunning") if first else ("JobNotRunning", "ServiceDown response")
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("MISSED", 10)
    assert missed(world) == (quiet, "pending")
    assert (stages(world, quiet), stages(world, other)) == ([], WHOLE)
    assert_put_back(world)


def test_one_alert_that_is_not_delivered_makes_the_drill_undelivered(world):
    world.expect("JobNotRunning").delivers = lambda status: False
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("UNDELIVERED", 11)
    assert missed(world) == ("JobNotRunning", "delivered")
    assert stages(world, "ServiceDown response") == WHOLE


def test_one_alert_that_is_late_makes_the_drill_late(world):
    world.expect("JobNotRunning").delay = 20
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("LATE", 13)
    outside = [(stage.alert, stage.name) for stage in verdict.stages if not stage.in_band]
    assert outside == [("JobNotRunning", "delivered"), ("JobNotRunning", "resolved")]


def test_the_drill_is_given_as_long_as_its_slowest_alert_needs(world):
    world.expect("JobNotRunning")
    world.rules[1]["duration"] = 100
    assert Options(margin=0).total(world.target()) == pytest.approx(15 + 60 + 100 + 8.2, abs=1)


def forbid_one(world, alertname="ReplicaMissing"):
    """A drill whose one alert must stay away."""
    path = world.expect(alertname)
    path.rule = lambda is_up: False
    pattern = world.experiment.expect[alertname]
    allow = ({"alertname": "ServiceDown"},)  # what stopping the job brings in this world
    world.experiment = replace(world.experiment, expect={}, forbid={alertname: pattern}, allow=allow)
    return path


def test_a_drill_whose_alert_stays_away_as_long_as_it_takes_is_proven(world):
    forbid_one(world)
    verdict = world.run()
    assert verdict.outcome == "PROVEN"
    latest = world.target().alerts["ReplicaMissing"].forecast.band("delivered").maximum
    assert world.data("quiet")["seconds"] >= latest
    assert f"would have been delivered after {latest:.1f} s at most" in verdict.reason
    assert_put_back(world)


def test_an_alert_that_must_stay_away_and_fires_is_collateral_at_once(world):
    forbid_one(world).rule = lambda is_up: not is_up
    verdict = world.run()
    assert verdict.outcome == "COLLATERAL"
    assert "ReplicaMissing" in verdict.reason
    latest = world.target().alerts["ReplicaMissing"].forecast.band("delivered").maximum
    assert world.data("quiet")["seconds"] < latest
    assert_put_back(world)


def test_what_must_stay_away_counts_though_a_wider_pattern_would_allow_it(world):
    forbid_one(world).rule = lambda is_up: not is_up
    world.experiment = replace(world.experiment, allow=({"alertname": "*"},))
    assert world.run().outcome == "COLLATERAL"


def test_what_must_come_and_what_must_stay_away_are_watched_in_one_drill(world):
    world.expect("ReplicaMissing", pending=30).rule = lambda is_up: False
    expect = dict(world.experiment.expect)
    forbid = {"ReplicaMissing": expect.pop("ReplicaMissing")}
    world.experiment = replace(world.experiment, expect=expect, forbid=forbid)
    verdict = world.run()
    assert verdict.outcome == "PROVEN"
    assert "ServiceDown response delivered" in verdict.reason
    assert "ReplicaMissing stayed away" in verdict.reason
    assert world.kinds().index("quiet") < world.kinds().index("reverting")
