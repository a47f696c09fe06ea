"""Whether each receiver got the alert of a drill, as Alertmanager counts it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from obsctl.clients.tally import Tally, since
from obsctl.drills.faults import Scrape
from obsctl.drills.plan.channels import channels
from obsctl.drills.plan.forecast import Settings, forecast
from obsctl.drills.run.alertmanager_log import LONGEST, last_failure, plain
from obsctl.drills.run.runner import Options
from obsctl.drills.tell import report
from obsctl.errors import Unreachable
from obsctl.stack.routing import routes
from tests.drill_world import ALERTMANAGER, LABELS, STACK, DrillWorld, iso

PAGER = ("pager", "webhook")
REFUSED = 'Post "<redacted>": dial tcp 127.0.0.1:9: connect: connection refused'


class PagedWorld(DrillWorld):
    """A second receiver on the alert's routes; `pager` changes its webhook, `route` its route."""

    def __init__(self, folder: Path, *, route: object = None, pager: object = None) -> None:
        super().__init__(folder)
        hook = {"url": "<secret>", "send_resolved": True} | dict(pager or {})
        own = {"receiver": "pager"} | dict(route or {})
        self.config = {
            **ALERTMANAGER,
            "route": {**ALERTMANAGER["route"], "routes": [{"receiver": "alert-sink", "continue": True}, own]},
            "receivers": [*ALERTMANAGER["receivers"], {"name": "pager", "webhook_configs": [hook]}],
            "time_intervals": [{"name": "always", "time_intervals": [{"years": ["2000:2999"]}]}],
        }
        self.alertmanager.config = yaml.safe_dump(self.config)
        self.alertmanager.sent[PAGER] = Tally(5, 1, 9, 4, {"serverError": 1})

    def rows(self, stage: str) -> dict[str, dict]:
        found = report.document(self.journal.records)["receivers"]
        return {row["receiver"]: row for row in found if row["stage"] == stage}

    def log(self, text: str) -> None:
        """Of the Alertmanager that runs."""
        self.nomad.exits[f"{STACK}-alertmanager"] = text


@pytest.fixture
def world(tmp_path):
    return PagedWorld(tmp_path)


def test_each_receiver_has_its_counts_and_its_time(world):
    verdict = world.run()
    assert verdict.outcome == "PROVEN", verdict.reason
    for stage, kind, moment in (("delivered", "injected", "effect_at"), ("resolved", "reverted", "back_at")):
        row = world.rows(stage)["pager"]
        assert (row["state"], row["notifications"], row["notifications_failed"]) == ("sent", 1, 0)
        begin, end = row["within"]
        exact = next(record.data["at"] for record in world.journal.records if record.data.get("stage") == stage)
        assert begin <= exact <= end <= begin + 1.5
        assert begin >= world.data(kind)[moment]
    text = report.text(world.journal.records)
    assert "delivered  to pager (webhook): " in text
    assert "resolved   to pager (webhook): " in text


def test_what_it_had_counted_before_the_fault_is_in_the_journal(world):
    world.run()
    [before] = [data for data in recorded(world) if data["stage"] == "before"]
    assert {row["receiver"]: row["requests_failed"] for row in before["rows"]} == {"alert-sink": 0, "pager": 4}


def recorded(world):
    return [record.data for record in world.journal.records if record.kind == "receivers"]


def test_one_that_is_given_up_is_undelivered_with_alertmanagers_reason_and_log_line(world):
    world.alertmanager.gave_up["pager"] = "clientError"
    line = 'err="pager/webhook[0]: notify retry canceled after 6 attempts: {}"'.format(REFUSED.replace('"', '\\"'))
    world.log(f"time={iso(world.clock.now() + 20)} level=ERROR aggrGroup={{}}:{{}} {line}\n")
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("UNDELIVERED", 11)
    gave_up = f"notify retry canceled after 6 attempts: {REFUSED}"
    assert verdict.reason == f"not delivered to pager (webhook): Alertmanager gave up (clientError): {gave_up}"
    assert world.rows("delivered")["pager"]["within"]
    assert set(world.rows("resolved")) == {"alert-sink"}, "it was never told of the alert, so it is not of the end"
    assert world.runs()


def test_one_that_has_only_failures_so_far_is_undelivered(world):
    world.alertmanager.refusing.add("pager")
    verdict = world.run(margin=2)
    assert (verdict.outcome, verdict.reason) == (
        "UNDELIVERED",
        "not delivered to pager (webhook): 1 of 1 requests failed",
    )
    assert "not delivered: 1 of 1 requests failed" in report.text(world.journal.records)


def test_one_to_which_nothing_is_sent_is_undelivered_when_its_time_is_over(world):
    del world.alertmanager.sent[PAGER]
    verdict = world.run(margin=2)
    assert verdict.outcome == "UNDELIVERED"
    assert "not delivered to pager (webhook): Alertmanager sent nothing in time" in verdict.reason


def test_an_end_that_it_does_not_get_is_unresolved(world):
    deliver = world.alerts.deliver

    def refuse_the_end(status, labels, **times):
        world.alertmanager.gave_up = {"pager": "serverError"} if status == "resolved" else {}
        deliver(status, labels, **times)

    world.alerts.deliver = refuse_the_end
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("UNRESOLVED", 12)
    assert "not resolved to pager (webhook): Alertmanager gave up (serverError)" in verdict.reason


def test_one_that_does_not_want_ends_is_not_waited_for(tmp_path):
    world = PagedWorld(tmp_path, pager={"send_resolved": False})
    assert world.run().outcome == "PROVEN"
    assert world.rows("resolved")["pager"]["state"] == "unasked"
    assert "send_resolved is false" in report.text(world.journal.records)


def test_one_that_is_muted_now_is_not_proven_and_no_fault(tmp_path):
    world = PagedWorld(tmp_path, route={"mute_time_intervals": ["always"]})
    del world.alertmanager.sent[PAGER]
    assert world.run().outcome == "PROVEN"
    assert "pager (webhook): muted now by always, so not proven" in report.text(world.journal.records)


def test_what_is_sent_before_the_alert_fires_is_not_its_notification(world):
    other = Tally(1, 0, 1, 0)

    def of_another_alert():
        world.alertmanager.sent[PAGER] += other

    world.on_step = lambda number, name: name == "journal.injected" and of_another_alert()
    world.alertmanager.notify = lambda: None
    verdict = world.run(margin=2)
    assert verdict.outcome == "UNDELIVERED"
    assert "pager (webhook): Alertmanager sent nothing in time" in verdict.reason


@pytest.mark.parametrize("away", [True, False])
def test_an_alertmanager_that_does_not_count_by_receiver_proves_the_sink_alone(world, away):
    world.alertmanager.tallies = dict
    if away:
        world.alertmanager.failures["tallies"] = Unreachable("away", hint="")
    assert world.run().outcome == "PROVEN"
    assert "the sink alone is proven" in report.text(world.journal.records)


def test_the_deadline_has_room_for_the_slowest_route(tmp_path):
    slow, usual = (PagedWorld(tmp_path, route={"group_wait": wait}).target() for wait in ("92s", "2s"))
    assert Options().total(slow) == Options().total(usual) + 90


SINK, OTHER = {"webhook_configs": [{"send_resolved": True}, {"send_resolved": False}]}, {"email_configs": [{}]}


def of_routes(*paths, **receivers):
    """The channels of an alert that takes routes to these receivers."""
    config = {
        "route": {"receiver": "none", "routes": [{"continue": True, **path} for path in paths]},
        "receivers": [{"name": name, **entries} for name, entries in receivers.items()],
        "time_intervals": [{"name": "always", "time_intervals": [{"years": ["2000:2999"]}]}],
    }

    def expected(route):
        return forecast(Settings(1, 1, 1, 1, 0, route.group_wait, route.group_interval, 1), Scrape.VANISHES)

    found = channels(config, routes(config, LABELS), 1e9, expected)
    return [(each.receiver, each.kind, each.count, each.ends, each.silent_by) for each in found]


def test_channels_of_an_alert():
    pager, muted = {"receiver": "pager"}, {"mute_time_intervals": ["always"]}
    assert of_routes(pager, pager={**SINK, **OTHER, "name": "pager"}) == [
        ("pager", "webhook", 2, 1, ()),
        ("pager", "email", 1, 1, ()),
    ]
    assert of_routes(pager, pager, pager=SINK) == [("pager", "webhook", 4, 2, ())], "two routes notify it twice"
    assert of_routes(pager, {**pager, **muted}, pager=SINK) == [("pager", "webhook", 2, 1, ())]
    assert of_routes({**pager, **muted}, pager=SINK) == [("pager", "webhook", 2, 1, ("always",))]
    assert of_routes({**pager, "matchers": ['service="other"']}, pager=SINK) == []


def test_an_alertmanager_that_began_anew_counts_from_nothing():
    before, after = {"a": {PAGER: Tally(7, 1, 9, 2)}}, {"a": {PAGER: Tally(1, 0, 1, 0)}}
    assert since(before, after, PAGER) == Tally(1, 0, 1, 0)
    assert since(before, {"a": {PAGER: Tally(8, 2, 12, 5, {"other": 1})}}, PAGER) == Tally(1, 1, 3, 3, {"other": 1})


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (REFUSED, REFUSED),
        ("Post https://me:pw@hooks.example.org/T0/B1?x=1: timeout", "Post <redacted> timeout"),
        ("status 400: {\n \x1b[31mno key tok_1234567890abcdef\u202e}", "status 400: { [31mno key <redacted> }"),
        ("lookup ip-10-0-0-1.eu-west-1.compute.internal: no such host",) * 2,
    ],
)
def test_what_a_receiver_answers_is_one_line_without_secrets(error, shown):
    assert plain(error) == shown


def test_what_a_receiver_answers_is_bounded():
    assert len(plain("so " * 1000)) == LONGEST


LINES = """\
time={at} level=WARN msg="will retry later" receiver=a integration=webhook[0] err="a: \\"first\\""
time={at} level=ERROR msg="Notify for alerts failed" err="a/webhook[0]: gave up: no; b/slack[1]: gave up: yes\\nno"
time={old} level=WARN receiver=old integration=webhook[0] err="old"
time=nonsense receiver=b integration=slack[0] err="later"
receiver=a/b integration=webhook[0] err=
"""


@pytest.mark.parametrize(
    ("receiver", "kind", "error"),
    [("a", "webhook", "gave up: no"), ("b", "slack", "gave up: yes no"), ("old", "webhook", ""), ("b", "webhook", "")],
)
def test_the_last_error_of_a_receiver_is_found_in_alertmanagers_log(world, receiver, kind, error):
    now = world.clock.now()
    world.log(LINES.format(at=iso(now + 1), old=iso(now - 1)))
    assert last_failure(world.world, receiver, kind, since=now) == error


def test_a_log_that_cannot_be_read_says_nothing(world):
    world.nomad.failures["task_logs"] = Unreachable("away", hint="")
    assert last_failure(world.world, "a", "webhook", since=0) == ""
