import json

import pytest
from prometheus_client import CollectorRegistry

from obsctl.errors import ObsctlError
from obsctl.services.alert_sink import create_app, run
from obsctl.services.notifications import NotificationLog
from obsctl.services.watchdog import Watchdog
from obsctl.services.web import MAX_BODY_BYTES


class Clock:
    def __init__(self):
        self.time = 1_700_000_000.0
        self.uptime = 50.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.uptime

    def sleep(self, seconds):
        self.time += seconds
        self.uptime += seconds


class Sink:
    """The app with its parts at hand; `last_seen` is what an earlier run left."""

    def __init__(self, folder, last_seen=None):
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.log = NotificationLog(folder)
        watchdog = Watchdog(10.0, last_seen=last_seen, clock=self.clock)
        self.http = create_app(self.log, watchdog, self.registry, self.clock).test_client()

    def post(self, payload):
        body = payload if isinstance(payload, bytes) else json.dumps(payload)
        return self.http.post("/webhook", data=body)

    def value(self, name, **labels):
        return self.registry.get_sample_value(name, labels)

    def page(self, query=""):
        return self.http.get(f"/{query}").text


@pytest.fixture
def sink(tmp_path):
    sink = Sink(tmp_path)
    yield sink
    sink.log.close()


def webhook(name="ServiceDown", status="firing", *, annotations=None, url="http://127.0.0.1:9090/graph", **labels):
    alert = {"status": status, "labels": {"alertname": name, **labels}, "generatorURL": url}
    return {"version": "4", "status": status, "alerts": [{**alert, "annotations": annotations or {}}]}


def test_a_delivery_is_on_disk_when_it_is_acknowledged(sink, tmp_path):
    assert sink.post(webhook()).status_code == 200
    stored = json.loads((tmp_path / "notifications.jsonl").read_text())
    assert stored == {"received_at": 1_700_000_000.0, "payload": webhook()}
    assert sink.http.get("/api/notifications").json == {"notifications": [stored]}
    assert sink.value("alert_sink_notifications_total", status="firing") == 1
    assert sink.value("alert_sink_notifications_total", status="resolved") == 0


def test_what_is_no_webhook_is_answered_400_and_counted(sink):
    answer = sink.post(b"[]")
    assert answer.status_code == 400
    assert "JSON object" in answer.json["error"]
    assert sink.value("alert_sink_rejected_total") == 1
    assert sink.log.find() == []


def test_a_delivery_beyond_the_limit_is_answered_413_and_counted(sink):
    assert sink.post(b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    assert sink.value("alert_sink_rejected_total") == 1


def test_a_write_failure_is_answered_500_so_that_alertmanager_tries_again(sink, tmp_path):
    sink.log.close()
    (tmp_path / "notifications.jsonl").unlink()
    (tmp_path / "notifications.jsonl").symlink_to("/dev/full")
    answer = sink.post(webhook("Watchdog"))
    assert answer.status_code == 500
    assert "No space left" in answer.json["error"]
    assert sink.value("alert_sink_write_failures_total") == 1
    assert sink.value("alert_sink_notifications_total", status="firing") == 0
    assert sink.http.get("/api/watchdog").json["last_seen"] is None


def test_the_api_filters_by_time_and_name(sink):
    sink.post(webhook("A"))
    sink.clock.sleep(5)
    sink.post(webhook("B"))
    sink.post(webhook("A", "resolved"))

    def received(query):
        found = sink.http.get(f"/api/notifications{query}").json["notifications"]
        return [one["payload"]["alerts"][0]["labels"]["alertname"] for one in found]

    assert received("") == ["A", "B", "A"]
    assert received("?since=1700000005") == ["B", "A"]
    assert received("?since=1700000005&alertname=A") == ["A"]
    assert received("?alertname=C") == []


@pytest.mark.parametrize("since", ["", "yesterday", "nan", "inf", "-inf"])
def test_a_bad_since_is_answered_400(sink, since):
    answer = sink.http.get(f"/api/notifications?since={since}")
    assert answer.status_code == 400
    assert "Unix seconds" in answer.json["error"]


def test_the_watchdog_is_silent_after_three_missed_beats_and_alive_again_after_one(sink):
    sink.post(webhook("Watchdog"))
    sink.clock.sleep(30)
    assert sink.http.get("/api/watchdog").json == {"last_seen": 1_700_000_000.0, "silent": False, "silent_after": 30.0}
    assert sink.value("alert_sink_watchdog_silent") == 0
    assert "Heartbeat alive, last 30 s ago" in sink.page()
    sink.clock.sleep(1)
    assert sink.http.get("/api/watchdog").json["silent"] is True
    assert sink.value("alert_sink_watchdog_silent") == 1
    assert "No heartbeat since 2023-11-14 22:13:20 UTC (31 s ago)" in sink.page()
    sink.post(webhook("Watchdog"))
    assert sink.value("alert_sink_watchdog_silent") == 0
    assert sink.value("alert_sink_watchdog_last_seen_timestamp_seconds") == 1_700_000_031


def test_a_watchdog_never_seen_is_waited_for_and_then_silent(sink):
    assert "Waiting for the first heartbeat" in sink.page()
    assert sink.value("alert_sink_watchdog_last_seen_timestamp_seconds") == 0
    sink.clock.sleep(30.5)
    assert sink.value("alert_sink_watchdog_silent") == 1
    assert "since alert-sink started" in sink.page()


def test_only_a_firing_watchdog_is_a_heartbeat(sink):
    sink.post(webhook("Watchdog", "resolved"))
    sink.post(webhook("ServiceDown"))
    assert sink.http.get("/api/watchdog").json["last_seen"] is None


def test_a_restart_waits_anew_but_remembers_when_the_last_beat_was(tmp_path):
    sink = Sink(tmp_path, last_seen=1_699_999_000.0)
    assert sink.http.get("/api/watchdog").json == {
        "last_seen": 1_699_999_000.0,
        "silent": False,
        "silent_after": 30.0,
    }
    assert "Waiting for the first heartbeat" in sink.page()
    sink.clock.sleep(31)
    assert sink.http.get("/api/watchdog").json["silent"] is True
    sink.log.close()


def test_setting_the_clock_does_not_make_the_watchdog_silent(sink):
    sink.post(webhook("Watchdog"))
    sink.clock.time += 3600
    assert sink.value("alert_sink_watchdog_silent") == 0


def test_the_page_shows_newest_first_and_says_firing_or_resolved_in_words(sink):
    sink.post(webhook("First", annotations={"summary": "it broke"}, job="response-service"))
    sink.post(webhook("Second", "resolved"))
    page = sink.page()
    assert page.index("Second") < page.index("First")
    assert "✓ RESOLVED" in page
    assert "▲ FIRING" in page
    assert "it broke" in page
    assert "<dt>job</dt><dd>response-service</dd>" in page
    assert '<a href="http://127.0.0.1:9090/graph"' in page


def test_the_page_leaves_heartbeats_out_unless_asked(sink):
    sink.post(webhook("Watchdog"))
    assert "No alert came in yet" in sink.page()
    assert "show heartbeats (1)" in sink.page()
    assert "▲ FIRING" in sink.page("?heartbeats=show")


def test_nothing_that_came_in_becomes_markup_or_a_dangerous_link(sink):
    sink.post(
        webhook(
            "<script>alert(1)</script>",
            annotations={"summary": "<img src=x>{{ 7*7 }}", "runbook_url": "javascript:alert(1)"},
            url="http://[::1",
            evil='"><svg onload=alert(1)>',
        )
    )
    answer = sink.http.get("/")
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "<svg" not in answer.text
    assert "{{ 7*7 }}" in answer.text
    assert "javascript:alert" not in answer.text
    assert "http://[::1" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_page_bounds_what_it_shows(sink):
    alert = {"status": "firing", "labels": {"alertname": "Many"}}
    sink.post({"status": "firing", "alerts": [alert] * 25})
    for _ in range(200):
        sink.post(webhook("Single"))
    page = sink.page()
    assert page.count("<article>") == 200
    assert "The newest 200 of 201" in page


def test_more_alerts_than_are_shown_are_counted(sink):
    alert = {"status": "firing", "labels": {"alertname": "Many"}}
    sink.post({"status": "firing", "alerts": [alert] * 25})
    assert sink.page().count("<section") == 20
    assert "and 5 more alerts" in sink.page()


def test_odd_but_valid_payloads_are_shown(sink):
    sink.post({"status": "firing", "alerts": []})
    sink.post({"status": "firing", "alerts": [{"labels": {"alertname": 7, "n": None}, "annotations": {"summary": []}}]})
    assert sink.http.get("/").status_code == 200


def test_the_page_refreshes_itself_and_can_be_paused(sink):
    assert 'http-equiv="refresh"' in sink.page()
    assert 'http-equiv="refresh"' not in sink.page("?refresh=off")


def test_it_is_ready_alive_and_answers_unknown_paths_in_json(sink):
    assert sink.http.get("/health").json == {"status": "ready"}
    assert sink.http.get("/alive").status_code == 200
    assert "error" in sink.http.get("/nothing").json


def test_a_folder_that_cannot_be_used_is_said_plainly(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ObsctlError, match="cannot keep notifications") as error:
        run(bind="127.0.0.1", port=0, data_dir=tmp_path / "file", heartbeat=10)
    assert "--data-dir" in error.value.hint
