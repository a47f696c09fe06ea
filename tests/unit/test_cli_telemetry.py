"""open, logs and trace as a user types them: what they say, and how they exit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from obsctl.cli import open as pages
from obsctl.errors import Unreachable
from obsctl.stack.addresses import Address
from obsctl.telemetry.lines import SECOND
from obsctl.wait import SYSTEM_CLOCK
from tests.command import Obsctl, Terminal
from tests.fakes import FakeJaeger, FakeLogs
from tests.otlp import MS, TRACE, span
from tests.world import World

pytestmark = pytest.mark.usefixtures("folder", "world")


@pytest.fixture
def jaeger(world: World) -> FakeJaeger:
    jaeger = FakeJaeger()
    world.programs.put(jaeger=jaeger)
    return jaeger


@pytest.fixture
def store(world: World) -> FakeLogs:
    logs = FakeLogs()
    world.programs.put(logs=logs)
    return logs


@pytest.fixture
def now() -> int:
    """Unix nanoseconds."""
    return int(SYSTEM_CLOCK.now() * SECOND)


class TestOpen:
    @pytest.fixture(autouse=True)
    def running(self, world: World) -> None:
        mine, other = {"obsctl_stack": "obs"}, {"obsctl_stack": "other"}
        world.consul.register("prometheus", instance="theirs", port=1, meta=other)
        world.consul.register("prometheus", instance=world.nomad.place("obs-prometheus"), port=9090, meta=mine)
        world.consul.register("warden", instance=world.nomad.place("obs-warden"), port=8098, status="critical")
        world.consul.register("checkout", port=80, tags=("obsctl.scrape",))
        world.consul.register("elsewhere", port=81, tags=("obsctl.scrape",), meta=other)
        world.consul.register("unwatched", port=82)
        world.consul.register("otlp-metrics", port=83, tags=("obsctl.scrape",), meta=mine)

    def test_all_of_them(self, obsctl: Obsctl) -> None:
        ran = obsctl("open")
        assert ran.code == 0
        assert [line.split("  ")[0] for line in ran.out.splitlines()] == [
            "COMPONENT", "alert-sink", "warden", "prometheus", "alertmanager", "checkout", "otlp-metrics",
            "nomad", "consul",
        ]  # fmt: skip
        assert "prometheus    http://127.0.0.1:9090/        passing      metrics, targets and rules" in ran.out
        assert "alert-sink    -                             not running  obsctl status says why" in ran.out
        assert "warden        http://127.0.0.1:8098/health  failing      _nomad-task-" in ran.out

    def test_as_json(self, obsctl: Obsctl) -> None:
        document = obsctl("open", "--json").document()
        assert document["schema"] == "obsctl/open/v1"
        urls = {item["name"]: item["url"] for item in document["addresses"]}
        assert (urls["checkout"], urls["otlp-metrics"]) == ("http://127.0.0.1:80/", "http://127.0.0.1:83/metrics")

    def test_one_of_them_where_there_is_no_terminal(self, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pages, "show", lambda url: pytest.fail("a browser without a terminal"))
        assert obsctl("open", "prometheus").out == "http://127.0.0.1:9090/\n"

    def test_one_that_is_not_healthy_says_so(self, obsctl: Obsctl) -> None:
        ran = obsctl("open", "warden")
        assert (ran.code, ran.out) == (0, "http://127.0.0.1:8098/health\n")
        assert ran.err.startswith("warden is not healthy: _nomad-task-")

    def test_one_that_does_not_run(self, obsctl: Obsctl) -> None:
        ran = obsctl("open", "alert-sink")
        assert (ran.code, ran.out) == (1, "")
        assert "Error: alert-sink does not run" in ran.err
        assert "obsctl deploy alert-sink brings it up" in ran.err

    def test_a_name_in_consul_does_not_steer_the_terminal_either_where_click_prints_it(
        self, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hostile = Address("web\x1b]0;owned\x07\u202e", "", "", "")
        monkeypatch.setattr("obsctl.stack.addresses.addresses", lambda *_: [hostile])
        ran = obsctl("open", "grafana")
        assert ran.code == 2
        assert ran.err.endswith("Error: no component grafana; there are web\n")

    def test_one_that_is_not_known(self, obsctl: Obsctl) -> None:
        ran = obsctl("open", "grafana")
        assert ran.code == 2
        assert "no component grafana; there are alert-sink, alertmanager, checkout" in ran.err

    @pytest.mark.parametrize(
        ("arguments", "shown"), [((), ["http://127.0.0.1:9090/"]), (("--print",), []), (("--json",), [])]
    )
    def test_on_a_terminal_a_browser_opens_unless_it_is_not_wanted(
        self, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], shown: list[str]
    ) -> None:
        opened: list[str] = []
        monkeypatch.setattr(pages, "show", lambda url: opened.append(url) or True)
        monkeypatch.setattr(sys, "stdout", Terminal())
        assert obsctl("open", "prometheus", *arguments).code == 0
        assert opened == shown

    def test_without_a_screen_it_says_so(self, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pages, "show", lambda url: False)
        monkeypatch.setattr(sys, "stdout", Terminal())
        assert obsctl("open", "prometheus").err == "there is no screen here to open it on\n"


@pytest.mark.parametrize(
    ("platform", "environ", "shown"),
    [("linux", {}, False), ("linux", {"DISPLAY": ":0"}, True), ("darwin", {}, True), ("linux", {"DISPLAY": ""}, False)],
)
def test_a_browser_is_started_only_where_there_is_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, environ: dict[str, str], shown: bool
) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\n{{ echo "$1"; env; }} > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setattr(sys, "platform", platform)
    secret = {"NOMAD_TOKEN": "s3cret", "BROWSER": str(browser)}
    assert pages.show("http://x/", environ={**environ, **secret}) is shown
    assert opened.exists() is shown
    if shown:
        assert opened.read_text().startswith("http://x/\n")
        assert "NOMAD_TOKEN" not in opened.read_text()


class TestLogs:
    def test_from_store(self, obsctl: Obsctl, store: FakeLogs, now: int) -> None:
        store.receive(now - SECOND, "second", nomad_job="obs-prometheus", severity_text="ERROR")
        store.receive(now - 2 * SECOND, "first", nomad_job="obs-prometheus")
        store.receive(now - 3600 * SECOND, "long ago", nomad_job="obs-prometheus")
        ran = obsctl("logs", "prometheus")
        assert ran.code == 0
        assert [line[24:] for line in ran.out.splitlines()] == ["       first", " ERROR second"]
        assert ran.err == "from VictoriaLogs at http://victorialogs.fake:9428\n"

    def test_from_nomad_when_the_store_is_down(self, obsctl: Obsctl, store: FakeLogs, world: World) -> None:
        store.failures["*"] = Unreachable("VictoriaLogs at x: refused", hint="")
        world.nomad.register_job({"ID": "obs-prometheus", "TaskGroups": [{"Name": "x", "Count": 1, "Tasks": []}]})
        world.nomad.written["obs-prometheus"] = {"prometheus.stderr.0": b"WARN hi\n"}
        ran = obsctl("logs", "prometheus")
        assert (ran.code, ran.out) == (0, f"{'-':24} WARN  WARN hi\n")
        assert ran.err == "from Nomad at http://nomad.fake:4646: VictoriaLogs at x: refused\n"

    def test_from_nomad_when_lines_go_to_another_store(
        self, obsctl: Obsctl, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OBSCTL_LOGS__ENDPOINT", "http://logs.example.org:3100/otlp")
        world.nomad.register_job({"ID": "obs-prometheus", "TaskGroups": [{"Name": "x", "Count": 1, "Tasks": []}]})
        world.nomad.written["obs-prometheus"] = {"prometheus.stderr.0": b"WARN hi\n"}
        why = "lines go to http://logs.example.org:3100/otlp, from which obsctl cannot read"
        ran = obsctl("logs", "prometheus")
        assert (ran.code, ran.err) == (0, f"from Nomad at http://nomad.fake:4646: {why}\n")
        for wanted in (("prometheus", "--source", "store"), ("--trace", TRACE), ("--where", "a=b")):
            ran = obsctl("logs", *wanted)
            assert ran.code == 1
            assert f"Error: {why}" in ran.err

    def test_any_nomad_job(self, obsctl: Obsctl, store: FakeLogs, world: World, now: int) -> None:
        world.nomad.register_job({"ID": "checkout", "TaskGroups": []})
        store.receive(now, "paid", nomad_job="checkout")
        assert obsctl("logs", "checkout").out.endswith(" paid\n")

    def test_a_name_that_nobody_knows(self, obsctl: Obsctl, store: FakeLogs) -> None:
        ran = obsctl("logs", "nobody")
        assert ran.code == 2
        assert "no component, no service of obsctl.yaml and no Nomad job nobody; there are alert-sink" in ran.err

    def test_a_service_of_obsctl_yaml_has_the_job_that_it_says(
        self, obsctl: Obsctl, store: FakeLogs, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OBSCTL_SERVICES", '{"checkout": {"job": "shop-checkout"}}')
        store.receive(now, "paid", nomad_job="shop-checkout")
        assert obsctl("logs", "checkout").out.endswith(" paid\n")

    def test_of_a_trace_from_all_services(self, obsctl: Obsctl, store: FakeLogs, now: int) -> None:
        store.receive(now - 2, "asked", nomad_job="obs-hello-service", trace_id=TRACE)
        store.receive(now - 1, "gave", nomad_job="obs-response-service", trace_id=TRACE)
        store.receive(now, "another", nomad_job="obs-hello-service", trace_id="7")
        ran = obsctl("logs", "--trace", TRACE.upper())
        assert [line.split(" ", 1)[1].strip() for line in ran.out.splitlines()] == [
            "obs-hello-service | asked",
            "obs-response-service | gave",
        ]

    def test_by_fields(self, obsctl: Obsctl, store: FakeLogs, now: int) -> None:
        store.receive(now - 2, '{"message": "paid", "user": 7, "how": "a=b"}', nomad_job="checkout")
        store.receive(now - 1, "user=7 msg=asked", nomad_job="obs-hello-service")
        store.receive(now, "user=70", nomad_job="obs-hello-service")
        assert [line.split()[-1] for line in obsctl("logs", "--where", "user=7").out.splitlines()] == [
            "how=a=b",
            "msg=asked",
        ]
        assert "asked" in obsctl("logs", "hello-service", "--where", "user=7").out
        assert "paid" in obsctl("logs", "--where", "user=7", "--where", "how=a=b").out

    def test_as_json(self, obsctl: Obsctl, store: FakeLogs, now: int) -> None:
        store.receive(now, "hi", nomad_job="obs-victorialogs", nomad_task="victorialogs", log_iostream="stderr")
        document = obsctl("--json", "logs", "victorialogs", "--grep", "H").document()
        assert (document["schema"], document["source"], document["reason"]) == ("obsctl/logs/v1", "victorialogs", "")
        [line] = document["lines"]
        assert (line["text"], line["at"], line["task"], line["stream"]) == ("hi", now, "victorialogs", "stderr")
        assert line["time"].endswith("Z")

    def test_none_at_all_is_no_error_but_said(self, obsctl: Obsctl, store: FakeLogs, world: World) -> None:
        ran = obsctl("logs", "victorialogs")
        assert (ran.code, ran.out) == (0, "")
        assert ran.err.endswith("no lines of victorialogs in this time; --since 1h looks further back\n")
        world.nomad.register_job({"ID": "obs-victorialogs", "TaskGroups": [{"Name": "x", "Count": 1, "Tasks": []}]})
        world.nomad.written["obs-victorialogs"] = {"victorialogs.stderr.0": b"2026-01-01T00:00:00Z hi\n"}
        said = obsctl("logs", "victorialogs", "--source", "nomad").err
        assert said.endswith("the newest is of 2026-01-01T00:00:00.000Z: ask for more with --since\n")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "name a COMPONENT, a trace with --trace ID, or a field with --where FIELD=VALUE"),
            (("victorialogs", "--where", "user"), "'user' is not of the form FIELD=VALUE"),
            (("victorialogs", "--where", "=7"), "'=7' is not of the form FIELD=VALUE"),
            (("victorialogs", "--where", "a=b", "--source", "nomad"), "Nomad knows no fields"),
            (("victorialogs", "--since", "5"), "must be a duration"),
            (("victorialogs", "--trace", "xyz"), "'xyz' is no trace id"),
            (("victorialogs", "--follow", "--json"), "--follow has no end"),
            (("--trace", TRACE, "--source", "nomad"), "Nomad has lines of one job at a time"),
            (("victorialogs", "--lines", "0"), "not in the range"),
        ],
    )
    def test_wrong_usage(self, obsctl: Obsctl, store: FakeLogs, arguments: tuple[str, ...], words: str) -> None:
        ran = obsctl("logs", *arguments)
        assert ran.code == 2
        assert words in ran.err

    def test_followed_until_ctrl_c(
        self, obsctl: Obsctl, store: FakeLogs, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sleep(seconds: float) -> None:
            if len(store.entries) > 1:
                raise KeyboardInterrupt
            store.receive(now + 1, "second", nomad_job="obs-victorialogs")

        monkeypatch.setattr("obsctl.wait.SystemClock.sleep", lambda self, seconds: sleep(seconds))
        store.receive(now, "first", nomad_job="obs-victorialogs")
        ran = obsctl("-q", "logs", "victorialogs", "--follow")
        assert ran.code == 130
        assert [line.split()[-1] for line in ran.out.splitlines()] == ["first", "second"]
        assert ran.err == ""


def received(jaeger: FakeJaeger, now: int) -> None:
    jaeger.received = [
        span("hello-service", "GET /hello", "1", start=now, took=40),
        span("response-service", "GET /phrase", "2", "1", start=now, at=2, took=36, error="KeyError: 'x'"),
    ]


class TestTrace:
    @pytest.mark.parametrize("arguments", [(TRACE,), (TRACE.upper(),), ("--last",), ("--last", "--errors")])
    def test_the_tree(self, obsctl: Obsctl, jaeger: FakeJaeger, now: int, arguments: tuple[str, ...]) -> None:
        received(jaeger, now)
        ran = obsctl("trace", *arguments)
        assert (ran.code, ran.err) == (0, "")
        lines = ran.out.splitlines()
        assert lines[1].startswith("hello-service  GET /hello")
        assert lines[2].startswith("└─ ✗ response-service  GET /phrase   36.0 ms  ")
        assert lines[3] == "      KeyError: 'x'"
        assert lines[-3] == "2 services, 2 spans, 1 error, 40.0 ms"
        assert lines[-2] == f"Logs:   obsctl logs --trace {TRACE}"
        assert lines[-1].startswith("Jaeger: http://jaeger.fake:16686/trace/")

    def test_an_older_one_says_how_far_to_look_back_for_its_lines(
        self, obsctl: Obsctl, jaeger: FakeJaeger, now: int
    ) -> None:
        received(jaeger, now - 2 * 3600 * SECOND)
        assert f"Logs:   obsctl logs --trace {TRACE} --since 3h\n" in obsctl("trace", TRACE).out

    def test_where_lines_go_to_another_store_there_is_no_way_to_them(
        self, obsctl: Obsctl, jaeger: FakeJaeger, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OBSCTL_LOGS__ENDPOINT", "http://logs.example.org:3100/otlp")
        received(jaeger, now)
        ran = obsctl("trace", TRACE, "--logs")
        assert (ran.code, "obsctl logs" in ran.out) == (0, False)
        assert "no log lines: lines go to http://logs.example.org:3100/otlp" in ran.err

    def test_leading_zeros_may_be_missing(self, obsctl: Obsctl, jaeger: FakeJaeger, now: int) -> None:
        jaeger.received = [span("web", "GET", "1", start=now, trace_id="ab".rjust(32, "0"))]
        assert obsctl("trace", "ab").code == 0

    def test_as_json(self, obsctl: Obsctl, jaeger: FakeJaeger, now: int) -> None:
        received(jaeger, now)
        document = obsctl("trace", TRACE, "--json").document()
        assert (document["schema"], document["trace_id"], document["errors"]) == ("obsctl/trace/v1", TRACE, 1)
        assert [(item["depth"], item["name"], item["errors"]) for item in document["spans"]] == [
            (0, "GET /hello", []),
            (1, "GET /phrase", ["KeyError: 'x'"]),
        ]

    def test_with_its_log_lines(self, obsctl: Obsctl, jaeger: FakeJaeger, store: FakeLogs, now: int) -> None:
        received(jaeger, now)
        store.receive(now + 3 * MS, "no phrase", trace_id=TRACE, span_id="2".rjust(16, "0"), severity_text="WARN")
        assert "   └─ +3.00 ms WARN no phrase" in obsctl("trace", TRACE, "--logs").out.splitlines()
        [line] = obsctl("trace", TRACE, "--logs", "--json").document()["lines"]
        assert line["text"] == "no phrase"

    def test_without_the_store_the_tree_is_still_shown(self, obsctl: Obsctl, jaeger: FakeJaeger, now: int) -> None:
        received(jaeger, now)
        ran = obsctl("trace", TRACE, "--logs")
        assert ran.code == 0
        assert ran.err == "no log lines: victorialogs of stack obs is not registered in Consul\n"

    def test_attributes_with_v(self, obsctl: Obsctl, jaeger: FakeJaeger, now: int) -> None:
        jaeger.received = [span("web", "GET", "1", start=now, http_route="/x")]
        assert "   http.route=/x" in obsctl("-v", "trace", "--last").out.splitlines()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--last", "--errors"), "none of the newest 1 traces of the last 1h has a failed span"),
            (("--last", "--service", "nobody"), "has no spans of nobody; the services are: web"),
            (
                ("--last", "--min-duration", "1s", "--since", "30m"),
                "no trace with a span of 1s or more of the last 30m",
            ),
            (("--last", "--service", "web", "--since", "1ms"), "has no trace of web of the last 1ms"),
            (("f" * 32,), f"Jaeger at http://jaeger.fake:16686 has no trace {'f' * 32}"),
        ],
    )
    def test_nothing_found(
        self, obsctl: Obsctl, jaeger: FakeJaeger, now: int, arguments: tuple[str, ...], words: str
    ) -> None:
        jaeger.received = [span("web", "GET", "1", start=now - SECOND)]
        ran = obsctl("trace", "--wait", "0s", *arguments)
        assert (ran.code, ran.out) == (1, "")
        assert words in ran.err
        assert "Hint: " in ran.err

    def test_it_is_waited_for(
        self, obsctl: Obsctl, jaeger: FakeJaeger, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("obsctl.wait.SystemClock.sleep", lambda self, seconds: received(jaeger, now))
        assert obsctl("trace", TRACE).code == 0
        jaeger.received = []
        assert obsctl("trace", "--last").code == 0

    def test_the_newest_one_is_shown_complete(
        self, obsctl: Obsctl, jaeger: FakeJaeger, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        received(jaeger, now)
        root = jaeger.received.pop(0)
        monkeypatch.setattr("obsctl.wait.SystemClock.sleep", lambda self, seconds: jaeger.received.append(root))
        assert "2 services, 2 spans, 1 error, 40.0 ms" in obsctl("trace", "--last").out.splitlines()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "give the ID of a trace, or --last"),
            ((TRACE, "--last"), "not both"),
            ((TRACE, "--errors"), "they go with --last"),
            (("xyz",), "'xyz' is no trace id"),
            (("--last", "--wait", "soon"), "must be a duration"),
        ],
    )
    def test_wrong_usage(self, obsctl: Obsctl, jaeger: FakeJaeger, arguments: tuple[str, ...], words: str) -> None:
        ran = obsctl("trace", *arguments)
        assert ran.code == 2
        assert words in ran.err

    def test_a_stack_without_jaeger(self, obsctl: Obsctl) -> None:
        ran = obsctl("trace", "--last")
        assert ran.code == 1
        assert "jaeger of stack obs is not registered in Consul" in ran.err
