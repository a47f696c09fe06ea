import json

import pytest
from prometheus_client import CollectorRegistry

from obsctl.errors import ObsctlError
from obsctl.services.access import Access
from obsctl.services.alert_sink import READERS, create_app, run
from obsctl.services.notifications import NotificationLog
from obsctl.services.watchdog import Watchdog
from obsctl.services.web import MAX_BODY_BYTES
from tests.full_disk import full_disk

SECRET = "the-secret"


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
        self.secret_file = folder / "secret"
        self.secret_file.write_text(SECRET)
        access = Access(self.secret_file, ["alerts.example.org"])
        self.http = create_app(self.log, watchdog, access, self.registry, self.clock).test_client()

    def post(self, payload, **changes):
        body = payload if isinstance(payload, bytes) else json.dumps(payload)
        usual = {"data": body, "auth": ("alertmanager", SECRET), "content_type": "application/json"}
        return self.http.post("/webhook", **{**usual, **changes})

    def rejected(self, reason):
        return self.value("alert_sink_rejected_total", reason=reason)

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
    assert sink.rejected("webhook") == 1
    assert sink.log.find() == []


def test_a_delivery_beyond_the_limit_is_answered_413_and_counted(sink):
    assert sink.post(b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    assert sink.rejected("size") == 1


def test_a_write_failure_is_answered_500_so_that_alertmanager_tries_again(sink):
    with full_disk():
        answer = sink.post(webhook("Watchdog"))
    assert answer.status_code == 500
    assert "File too large" in answer.json["error"]
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
        run(
            bind="127.0.0.1", port=0, data_dir=tmp_path / "file", heartbeat=10,
            access=Access(tmp_path / "file"), stack="obs", silence_webhook=None,
        )  # fmt: skip
    assert "--data-dir" in error.value.hint


# Who may deliver, and who may read


@pytest.mark.parametrize("auth", [None, ("alertmanager", "another"), ("alertmanager", ""), ("the-secret", "")])
def test_a_delivery_without_the_secret_is_answered_401_counted_and_not_kept(sink, auth):
    answer = sink.post(webhook("Watchdog"), auth=auth)
    assert answer.status_code == 401
    assert sink.rejected("secret") == 1
    assert sink.log.find() == []
    assert sink.http.get("/api/watchdog").json["last_seen"] is None


def test_an_empty_secret_lets_nobody_deliver(sink):
    sink.secret_file.write_text("\n")
    assert sink.post(webhook(), auth=("alertmanager", "")).status_code == 401


def test_a_secret_that_cannot_be_read_is_answered_503_so_that_alertmanager_tries_again(sink):
    sink.secret_file.unlink()
    answer = sink.post(webhook())
    assert answer.status_code == 503
    assert "cannot be read" in answer.json["error"]


def test_a_new_secret_counts_at_once(sink):
    sink.secret_file.write_text("new\n")
    assert sink.post(webhook()).status_code == 401
    assert sink.post(webhook(), auth=("alertmanager", "new")).status_code == 200


@pytest.mark.parametrize("header", [("Origin", "http://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "none")])
def test_a_web_page_cannot_deliver_even_with_the_secret(sink, header):
    assert sink.post(webhook("Watchdog"), headers=[header]).status_code == 403
    assert sink.rejected("origin") == 1
    assert sink.log.find() == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_what_a_form_can_send_is_no_delivery(sink, content_type):
    assert sink.post(webhook(), content_type=content_type).status_code == 415
    assert sink.rejected("content_type") == 1
    assert sink.log.find() == []


READS = ("/", "/api/notifications", "/api/watchdog", "/metrics")


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8099", "a, b", "[::1].evil.example", "[", "x@y"]
)
def test_a_name_that_may_be_anybodys_is_refused_with_the_key_that_allows_it(sink, path, host):
    answer = sink.http.get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert "components.alert-sink.hosts" in answer.json["error"]
    assert sink.rejected("host") == 1


def test_a_delivery_by_such_a_name_is_refused_too(sink):
    assert sink.post(webhook(), headers={"Host": "evil.example"}).status_code == 403
    assert sink.log.find() == []


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1:8099", "10.0.0.7", "[::1]:8099", "[fd00::1]", "localhost:8099", "node-1", "NODE-1:80"),
        *("alert-sink.service.consul:8099", "node1.internal", "laptop.local", "x.localhost"),
        *("alerts.example.org", "Alerts.Example.org.:443"),
    ],
)
def test_addresses_ones_own_names_and_those_of_the_configuration_are_served(sink, path, host):
    assert sink.http.get(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/alive"])
def test_a_probe_may_use_any_name(sink, path):
    assert sink.http.get(path, headers={"Host": "balancer.example"}).status_code == 200


def test_no_other_page_may_read_or_frame_what_is_answered(sink):
    for path in READS:
        headers = sink.http.get(path).headers
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers


def test_a_refusal_is_logged_once_a_minute(sink, caplog):
    for _ in range(3):
        sink.post(webhook(), auth=None)
    assert len(caplog.records) == 1
    sink.clock.sleep(60)
    sink.post(webhook(), auth=None)
    assert len(caplog.records) == 2
    assert SECRET not in caplog.text


# Whatever is stored is shown

NASTY = {
    "deep name": {"labels": {"alertname": {"a": [[[["x"]]]]}}},
    "deep label": {"labels": {"alertname": "A", "b": [[["<script>"]]]}},
    "half character": {"labels": {"alertname": "\ud800"}},
    "long name": {"labels": {"alertname": "n" * 500_000, "l" * 500_000: "v" * 500_000}},
    "many labels": {"labels": {f"l{number}": "v" for number in range(19_000)}},
    "odd status": {"labels": {}, "status": {"a": 1}},
    "odd links": {"labels": {}, "annotations": {"runbook_url": ["http://x"]}, "generatorURL": "http://x\u202e/\x00"},
    "numbers": {"labels": {"alertname": -1e308, "n": None, "b": False}, "annotations": {"summary": 0.1}},
}


@pytest.mark.parametrize("alert", NASTY.values(), ids=NASTY)
def test_the_page_shows_whatever_is_stored(tmp_path, alert):
    line = json.dumps({"received_at": 1.5, "payload": {"status": "firing", "alerts": [alert] * 3}})
    (tmp_path / "notifications.jsonl").write_text(line + "\n")
    sink = Sink(tmp_path)
    answer = sink.http.get("/")
    sink.log.close()
    assert answer.status_code == 200
    assert "▲ FIRING" in answer.text or "alert" in answer.text
    assert len(answer.data) < 1_000_000


def test_a_text_reads_in_the_order_in_which_it_is_written(sink):
    sink.post(webhook("\u202egnp.exe", annotations={"summary": "\u2067turned"}))
    page = sink.page()
    assert "\u202e" not in page
    assert "\u2067" not in page
    assert "gnp.exe" in page


def test_a_line_that_is_gone_from_disk_is_said_to_be_so(sink, tmp_path):
    sink.post(webhook("Gone"))
    sink.post(webhook("There"))
    file = tmp_path / "notifications.jsonl"
    first, second = file.read_bytes().splitlines()
    file.write_bytes(b"x" * len(first) + b"\n" + second + b"\n")
    assert "a delivery that cannot be read any more" in sink.page()
    assert len(sink.http.get("/api/notifications").json["notifications"]) == 1


def test_a_page_is_made_from_a_bounded_part_of_what_is_stored(sink):
    for number in range(5):
        sink.post(webhook(f"Large{number}", annotations={"summary": "s" * 400_000}))
    page = sink.page()
    assert page.count("<article>") == 2
    assert "The newest 2 of 5" in page


def test_eight_may_read_at_once_and_deliveries_go_on(sink):
    sink.post(webhook())
    answers = [sink.http.get("/api/notifications", buffered=False) for _ in range(READERS)]
    assert sink.http.get("/api/notifications").status_code == 503
    assert sink.http.get("/").status_code == 503
    assert sink.post(webhook()).status_code == 200
    for answer in answers:
        answer.close()
    assert len(sink.http.get("/api/notifications").json["notifications"]) == 2
