"""The stack's own servers, real: one alert on its way from Prometheus through Alertmanager to alert-sink."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from obsctl.clients.alert_apis import AlertmanagerClient, PrometheusClient, SinkClient
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.clients.programs import endpoint
from obsctl.clients.protocols import AlertmanagerApi, PrometheusApi, SinkApi
from obsctl.errors import Rejected
from obsctl.wait import wait_until
from tests.agents import answers, program, running, until_it_answers
from tests.ports import free_port

pytestmark = pytest.mark.real

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]}}]}}
rule_files: [rules.yml]
scrape_configs: [{{job_name: itself, static_configs: [{{targets: ["127.0.0.1:{prometheus}"]}}]}}]
"""
RULES = """
groups: [{name: always, rules: [{alert: Always, expr: vector(1), labels: {severity: info}}]}]
"""
ALERTMANAGER = """
route: {{receiver: sink, group_wait: 0s, group_interval: 1s, repeat_interval: 1s}}
receivers: [{{name: sink, webhook_configs: [{{url_file: alert-sink.url}}]}}]
"""
SECRET = "only-alertmanager-knows"

HEALTH = {"sink": "/health", "alertmanager": "/-/ready", "prometheus": "/-/ready"}


@dataclass(frozen=True)
class Stack:
    prometheus: PrometheusApi
    alertmanager: AlertmanagerApi
    sink: SinkApi
    folder: Path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    ports = {"prometheus": free_port(), "alertmanager": free_port(), "sink": free_port()}
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    (folder / "prometheus.yml").write_text(PROMETHEUS.format(**ports))
    (folder / "rules.yml").write_text(RULES)
    (folder / "alertmanager.yml").write_text(ALERTMANAGER.format(**ports))
    (folder / "secret").write_text(SECRET)
    (folder / "alert-sink.url").write_text(f"http://alertmanager:{SECRET}@{at['sink']}/webhook\n")
    serve = [sys.executable, "-m", "obsctl", "serve", "alert-sink"]
    programs = {
        "sink": [*serve, f"--port={ports['sink']}", "--data-dir=sink", "--secret-file=secret"],
        "alertmanager": [
            program("alertmanager"), "--config.file=alertmanager.yml", "--storage.path=alertmanager",
            f"--web.listen-address={at['alertmanager']}", "--cluster.listen-address=",
            "--enable-feature=receiver-name-in-metrics",
        ],
        "prometheus": [
            program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus",
            f"--web.listen-address={at['prometheus']}", "--rules.alert.resend-delay=1s",
        ],
    }  # fmt: skip
    stack = Stack(
        PrometheusClient(endpoint("prometheus", f"http://{at['prometheus']}")),
        AlertmanagerClient(endpoint("alertmanager", f"http://{at['alertmanager']}")),
        SinkClient(endpoint("alert-sink", f"http://{at['sink']}")),
        folder,
    )
    with ExitStack() as open_programs:
        for server, (name, argv) in zip(
            (stack.sink, stack.alertmanager, stack.prometheus), programs.items(), strict=True
        ):
            open_programs.enter_context(running(argv, folder, log=f"{name}.log"))
            until_it_answers(lambda page=f"{server.address}{HEALTH[name]}": answers(page), folder)
        yield stack


def test_their_clocks_are_ours(stack: Stack) -> None:
    for server in (stack.prometheus, stack.alertmanager, stack.sink):
        assert abs(server.server_time() - time.time()) < 3


class TestPrometheus:
    def test_it_tells_about_itself(self, stack: Stack) -> None:
        assert "job_name: itself" in stack.prometheus.config_yaml()
        assert [group["name"] for group in stack.prometheus.rule_groups()] == ["always"]

    def test_a_query(self, stack: Stack) -> None:
        [sample] = stack.prometheus.query('label_replace(vector(7), "a", "b", "", "")')
        assert sample["metric"] == {"a": "b"}
        assert sample["value"][1] == "7"
        assert stack.prometheus.query("no_such_metric") == []

    @pytest.mark.parametrize(
        ("promql", "words"), [("sum(", "parse error"), ("up[5m]", "with a matrix"), ("1", "with a scalar")]
    )
    def test_a_query_that_gives_no_vector(self, stack: Stack, promql: str, words: str) -> None:
        with pytest.raises(Rejected, match=words):
            stack.prometheus.query(promql)

    def test_how_much_an_answer_of_any_type_has(self, stack: Stack) -> None:
        counts = {"vector(1)": 1, "no_such_metric": 0, "no_such_metric[5m]": 0, "1": 1, '"a"': 1}
        assert {promql: stack.prometheus.count(promql) for promql in counts} == counts
        with pytest.raises(Rejected, match="parse error"):
            stack.prometheus.count("sum(")

    def test_it_writes_an_expression_in_one_way(self, stack: Stack) -> None:
        ways = (r"sum by(b)(a{c=~`^\d+$`} > 1_000)", 'sum  by (b)  (a{c=~"^\\\\d+$"}>1e3) # many')
        assert len({stack.prometheus.format_query(promql) for promql in ways}) == 1
        with pytest.raises(Rejected, match="parse error"):
            stack.prometheus.format_query("sum(")

    def test_its_targets_and_alertmanagers(self, stack: Stack) -> None:
        wait_until(lambda: stack.prometheus.query("up == 1"), timeout=20, failure="no sign of a scrape", hint="")
        [target] = stack.prometheus.targets()
        assert (target["labels"]["job"], target["health"]) == ("itself", "up")
        urls = wait_until(stack.prometheus.alertmanagers, timeout=20, failure="no sign of an Alertmanager", hint="")
        assert urls == [f"{stack.alertmanager.address}/api/v2/alerts"]


def test_an_alert_arrives(stack: Stack) -> None:
    notifications = wait_until(
        lambda: stack.sink.notifications(since=0.0, alertname="Always"),
        timeout=30,
        failure="no sign of a delivery",
        hint="",
    )
    [alert] = stack.prometheus.alerts()
    assert (alert["labels"]["alertname"], alert["state"]) == ("Always", "firing")
    [seen] = stack.alertmanager.alerts()
    assert (seen["labels"]["alertname"], seen["status"]["state"]) == ("Always", "active")
    first = notifications[0]
    assert first["payload"]["alerts"][0]["labels"]["alertname"] == "Always"
    assert abs(first["received_at"] - time.time()) < 60
    assert stack.sink.notifications(since=time.time() + 60) == []
    assert stack.sink.notifications(since=0.0, alertname="Other") == []


def test_the_secret_of_deliveries_shows_nowhere(stack: Stack) -> None:
    """Not in what Alertmanager logs about deliveries that fail, nor in its metrics and its API."""
    url_file, secret_file = stack.folder / "alert-sink.url", stack.folder / "secret"
    log = stack.folder / "alertmanager.log"
    secret_file.write_text("another")
    url = url_file.read_text()
    try:
        wait_until(lambda: "401" in log.read_text(), timeout=30, failure="no sign of a refused delivery", hint="")
        url_file.write_text(url.replace(stack.sink.address.removeprefix("http://"), f"127.0.0.1:{free_port()}"))
        wait_until(lambda: "refused" in log.read_text(), timeout=30, failure="no sign of a failure", hint="")
    finally:
        url_file.write_text(url)
        secret_file.write_text(SECRET)
    session = Session(Endpoint("Alertmanager", stack.alertmanager.address, down=""))
    shown = [session.get(path, text=True).text for path in ("/metrics", "/api/v2/status")]
    said = [file.read_text() for file in stack.folder.glob("*.log")]
    assert not [text for text in (*shown, *said) if SECRET in text]


class TestAlertmanager:
    def test_an_alert_that_is_posted_is_counted_and_ends(self, stack: Stack) -> None:
        labels, ends = {"alertname": "Posted"}, datetime.now(UTC) + timedelta(minutes=1)
        before = stack.alertmanager.tallies()["sink", "webhook"]
        stack.alertmanager.post([{"labels": labels, "endsAt": ends.isoformat()}])
        wait_until(
            lambda: stack.sink.notifications(since=0.0, alertname="Posted"),
            timeout=20,
            failure="no sign of a delivery",
            hint="",
        )

        def is_counted() -> bool:  # when the receiver has answered
            counted = stack.alertmanager.tallies()["sink", "webhook"] - before
            return min(counted.delivered, counted.notifications) >= 1

        wait_until(is_counted, timeout=5, failure="it is not counted", hint="")
        stack.alertmanager.post([{"labels": labels, "endsAt": datetime.now(UTC).isoformat()}])
        assert [alert for alert in stack.alertmanager.alerts() if alert["labels"] == labels] == []

    def test_its_status(self, stack: Stack) -> None:
        status = stack.alertmanager.status()
        assert "receiver: sink" in status["config"]["original"]
        assert status["versionInfo"]["version"]

    def test_a_silence_begins_at_once_and_ends_when_it_is_told_to_or_by_itself(self, stack: Stack) -> None:
        alertmanager, labels = stack.alertmanager, {"alertname": "Silenced", "service": 'a "service"'}
        silence = alertmanager.silence(labels, until=time.time() + 60, comment="a test")
        [own] = [each for each in alertmanager.silences() if each["id"] == silence]
        assert {each["name"]: each["value"] for each in own["matchers"]} == labels
        assert {(each["isRegex"], each["isEqual"]) for each in own["matchers"]} == {(False, True)}
        for _ in range(2):  # also one that has ended
            alertmanager.expire(silence)
            assert silence not in [each["id"] for each in alertmanager.silences()]

        short = alertmanager.silence(labels, until=time.time() + 2, comment="a test")
        assert short in [each["id"] for each in alertmanager.silences()]
        wait_until(
            lambda: short not in [each["id"] for each in alertmanager.silences()],
            timeout=10, failure="no sign of its end", hint="",
        )  # fmt: skip

    def test_only_silences_that_are_active_now(self, stack: Stack) -> None:
        session = Session(Endpoint("Alertmanager", stack.alertmanager.address, down=""))
        now = datetime.now(UTC)
        for name, start in (("now", now), ("later", now + timedelta(hours=1))):
            silence = {
                "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}],
                "startsAt": start.isoformat(),
                "endsAt": (now + timedelta(hours=2)).isoformat(),
                "createdBy": "test",
                "comment": "test",
            }
            session.post("/api/v2/silences", json=silence)
        wait_until(stack.alertmanager.silences, timeout=5, failure="no sign of the silence", hint="")
        assert [silence["matchers"][0]["value"] for silence in stack.alertmanager.silences()] == ["now"]
