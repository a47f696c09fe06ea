"""The programs of `obsctl serve` as real processes, against a real Consul of their own."""

import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from obsctl.local import binaries
from obsctl.services.web import SETTLE_SECONDS
from obsctl.wait import SYSTEM_CLOCK, wait_until

pytestmark = pytest.mark.real


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


class Program:
    """`obsctl serve ...` on a free port, or again on the port of an earlier one."""

    def __init__(self, log, *args, port=None, env=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        command = [sys.executable, "-m", "obsctl", "serve", *args, "--port", str(self.port)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=env)

    def wait_alive(self):
        self.wait_for("/alive")
        return self

    def wait_for(self, path):
        def answered():
            assert self.process.poll() is None, self.log.read_text()
            return answers(self.url + path)

        wait_until(answered, timeout=30, what=f"{self.url}{path}", hint=str(self.log), interval=0.05)

    def get(self, path):
        return requests.get(self.url + path, timeout=10)

    def metric(self, name):
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def end(self, number=signal.SIGTERM):
        """Send the signal; the exit code and how long it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(timeout=30), time.monotonic() - started

    def cleanup(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)


@pytest.fixture
def start(tmp_path):
    """Starts programs; those still running when the test ends are killed."""
    with ExitStack() as programs:

        def start_one(*args, **options):
            program = Program(tmp_path / f"{args[0]}.log", *args, **options)
            programs.callback(program.cleanup)
            return program

        yield start_one


# alert-sink


@pytest.fixture
def start_sink(start, tmp_path):
    def start_one(port=None, heartbeat=60):
        options = ("--data-dir", str(tmp_path / "data"), "--heartbeat", str(heartbeat))
        return start("alert-sink", *options, port=port).wait_alive()

    return start_one


def webhook(name, padding=0):
    alert = {"status": "firing", "labels": {"alertname": name}, "annotations": {"summary": "x" * padding}}
    return {"version": "4", "status": "firing", "receiver": "alert-sink", "alerts": [alert]}


def received(sink):
    found = sink.get("/api/notifications").json()["notifications"]
    return [one["payload"]["alerts"][0]["labels"]["alertname"] for one in found]


class Deliverers:
    """Deliver notifications from several threads, as fast as the sink takes them, and note which were acknowledged."""

    def __init__(self, url, count=4, padding=2000):
        self.acknowledged = []
        self.stop = threading.Event()
        self._url = f"{url}/webhook"
        self._padding = padding
        self._threads = [threading.Thread(target=self._deliver, args=(number,)) for number in range(count)]

    def _deliver(self, thread):
        number = 0
        while not self.stop.is_set():
            name = f"{thread}-{number}"
            try:
                answer = requests.post(self._url, json=webhook(name, self._padding), timeout=5)
            except requests.RequestException:
                return
            if answer.status_code == 200:
                self.acknowledged.append(name)
            number += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self._threads:
            thread.join(timeout=30)


@pytest.mark.parametrize("enough", [20, 57, 93])
def test_kill_9_amid_deliveries_loses_nothing_that_was_acknowledged(start_sink, enough):
    sink = start_sink()
    with Deliverers(sink.url) as deliverers:
        wait_until(
            lambda: len(deliverers.acknowledged) >= enough, timeout=30, what="deliveries", hint="", interval=0.001
        )
        sink.end(signal.SIGKILL)
    again = start_sink(port=sink.port)
    assert set(deliverers.acknowledged) <= set(received(again))
    assert len(received(again)) == len(set(received(again)))
    requests.post(f"{again.url}/webhook", json=webhook("after"), timeout=5).raise_for_status()
    again.end(signal.SIGKILL)
    assert received(start_sink(port=sink.port))[-1] == "after"


def test_a_disk_that_fills_up_amid_a_line_answers_500_and_the_retry_is_kept(start_sink, tmp_path):
    sink = start_sink()
    requests.post(f"{sink.url}/webhook", json=webhook("Before"), timeout=5).raise_for_status()
    size = (tmp_path / "data" / "notifications.jsonl").stat().st_size
    _, hard = resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE, (size + 50, hard))
    assert requests.post(f"{sink.url}/webhook", json=webhook("Retried"), timeout=5).status_code == 500
    assert sink.metric("alert_sink_write_failures_total") == 1
    assert (tmp_path / "data" / "notifications.jsonl").stat().st_size == size + 50, "the line was torn"
    assert sink.get("/health").status_code == 200
    resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    requests.post(f"{sink.url}/webhook", json=webhook("Retried"), timeout=5).raise_for_status()
    sink.end()
    again = start_sink()
    assert received(again) == ["Before", "Retried"]
    assert again.metric("alert_sink_skipped_lines") == 1


def test_the_watchdog_falls_silent_and_speaks_again(start_sink):
    sink = start_sink(heartbeat=0.2)
    requests.post(f"{sink.url}/webhook", json=webhook("Watchdog"), timeout=5).raise_for_status()
    assert sink.metric("alert_sink_watchdog_last_seen_timestamp_seconds") == pytest.approx(time.time(), abs=10)
    wait_until(lambda: sink.metric("alert_sink_watchdog_silent") == 1, timeout=10, what="silence", hint="")
    assert "Watchdog silent" in sink.get("/").text
    requests.post(f"{sink.url}/webhook", json=webhook("Watchdog"), timeout=5).raise_for_status()
    assert sink.get("/api/watchdog").json()["silent"] is False


def test_a_heartbeat_from_before_a_restart_is_remembered(start_sink):
    sink = start_sink()
    requests.post(f"{sink.url}/webhook", json=webhook("Watchdog"), timeout=5).raise_for_status()
    last_seen = sink.get("/api/watchdog").json()["last_seen"]
    sink.end()
    assert start_sink().get("/api/watchdog").json()["last_seen"] == last_seen


# Stopping and starting


def request_bytes(name):
    body = json.dumps(webhook(name)).encode()
    return b"POST /webhook HTTP/1.1\r\nHost: sink\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def read_answer(client):
    """The whole answer on a connection that the server closes after it."""
    client.settimeout(10)
    return b"".join(iter(lambda: client.recv(65536), b""))


def takes_no_more(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_it_answers_requests_that_were_half_sent(start_sink, number):
    sink = start_sink()
    with ExitStack() as connections:
        address = ("127.0.0.1", sink.port)
        clients = [connections.enter_context(socket.create_connection(address, timeout=5)) for _ in range(20)]
        for client in clients:
            client.sendall(request_bytes("Half")[:80])
        sink.get("/alive")
        sink.process.send_signal(number)
        wait_until(lambda: takes_no_more(sink.port), timeout=10, what="no new connections", hint="", interval=0.01)
        SYSTEM_CLOCK.sleep(2 * SETTLE_SECONDS)  # a client may well be slow; only idle connections are given up
        for client in clients:
            client.sendall(request_bytes("Half")[80:])
        answers = [read_answer(client) for client in clients]
    assert sink.process.wait(timeout=10) == 0
    assert all(answer.startswith(b"HTTP/1.1 200 OK") and b"Connection: close" in answer for answer in answers)


def test_stopped_it_answers_connections_that_still_wait_to_be_accepted(start_sink):
    sink = start_sink()
    sink.process.send_signal(signal.SIGSTOP)
    with ExitStack() as connections:
        address = ("127.0.0.1", sink.port)
        clients = [connections.enter_context(socket.create_connection(address, timeout=5)) for _ in range(20)]
        for client in clients:
            client.sendall(request_bytes("Waiting"))
        sink.process.send_signal(signal.SIGTERM)
        sink.process.send_signal(signal.SIGCONT)
        answers = [read_answer(client) for client in clients]
    assert sink.process.wait(timeout=10) == 0
    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)


def test_stopped_under_load_every_keep_alive_client_is_told_and_none_is_cut_off(start_sink):
    sink = start_sink()
    enough = threading.Event()

    def deliver_until_told(thread):
        with requests.Session() as session:
            for count in range(100_000):
                answer = session.post(f"{sink.url}/webhook", json=webhook(f"{thread}-{count}"), timeout=10)
                assert answer.json() == {"status": "stored"}
                if count == 20:
                    enough.set()
                if answer.headers.get("Connection") == "close":
                    return True
        return False

    with ThreadPoolExecutor(8) as threads:
        loads = [threads.submit(deliver_until_told, thread) for thread in range(8)]
        assert enough.wait(timeout=30)
        code, took = sink.end()
        assert [load.result(timeout=30) for load in loads] == [True] * 8
    assert code == 0
    assert took < 8


def test_a_second_signal_while_stopping_changes_nothing(start_sink):
    sink = start_sink()
    sink.process.send_signal(signal.SIGTERM)
    assert sink.end(signal.SIGINT)[0] == 0


def test_a_client_that_never_finishes_its_request_does_not_hold_up_the_end(start_sink):
    sink = start_sink()
    with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as client:
        client.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        sink.get("/alive")
        code, took = sink.end()
    assert code == 0
    assert took < 8


def test_a_taken_port_is_said_in_a_sentence(start_sink, tmp_path, start):
    sink = start_sink()
    second = start("alert-sink", "--data-dir", str(tmp_path / "other"), port=sink.port)
    assert second.process.wait(timeout=30) == 1
    said = second.log.read_text()
    assert f"Error: cannot listen on 127.0.0.1:{sink.port}" in said
    assert "Hint: choose a free --port" in said
    assert "Traceback" not in said


# The demo


class Consul:
    """A Consul agent in development mode, on its own ports."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ports = [f"-{name}-port={free_port()}" for name in ("server", "serf-lan", "serf-wan")]
        closed = [f"-{name}-port=-1" for name in ("dns", "grpc", "grpc-tls")]
        command = [binaries.find("consul", {}), "agent", "-dev", "-bind=127.0.0.1", f"-http-port={self.port}"]
        with (folder / "consul.log").open("wb") as output:
            self.process = subprocess.Popen([*command, *ports, *closed], stdout=output, stderr=output, cwd=folder)

    def put(self, path, value):
        body = value if isinstance(value, str) else json.dumps(value)
        requests.put(f"{self.url}/v1/{path}", data=body, timeout=10).raise_for_status()

    def register(self, name, program):
        """With an HTTP check on /health, as Nomad would."""
        check = {"HTTP": f"{program.url}/health", "Interval": "200ms", "Timeout": "1s"}
        service = {"Name": name, "Address": "127.0.0.1", "Port": program.port, "Check": check}
        self.put("agent/service/register", service)

    def passing(self, name):
        return requests.get(f"{self.url}/v1/health/service/{name}?passing=1", timeout=10).json()


@pytest.fixture(scope="module")
def consul(tmp_path_factory):
    agent = Consul(tmp_path_factory.mktemp("consul"))
    try:
        leader = f"{agent.url}/v1/status/leader"
        wait_until(
            lambda: answers(leader) and requests.get(leader, timeout=5).json(), timeout=60, what="Consul", hint=""
        )
        agent.put("kv/minion_phrases", ["Bello!"])
        yield agent
    finally:
        agent.process.terminate()
        agent.process.wait(timeout=30)


@pytest.fixture
def demo(consul, start):
    """hello-service and response-service, registered in Consul and healthy."""
    consul.put("kv/minion_phrases", ["Bello!"])
    programs = {}
    for name in ("hello-service", "response-service"):
        programs[name] = start(name, "--consul", consul.url).wait_alive()
        consul.register(name, programs[name])
    for name in programs:
        wait_until(lambda name=name: consul.passing(name), timeout=30, what=f"{name} passing", hint="")
    yield programs["hello-service"], programs["response-service"]
    for name in programs:
        consul.put(f"agent/service/deregister/{name}", "")


def totals(program, prefix):
    names = ("total_requests", "successful_responses", "failed_responses")
    return tuple(program.metric(f"{prefix}_{name}_total") for name in names)


def test_hello_gets_its_phrase_through_consul(demo):
    hello, response = demo
    assert hello.get("/hello").json() == {"message": "Hello! Bello!"}
    assert totals(hello, "hello_service") == (1, 1, 0)
    assert totals(response, "response_service") == (1, 1, 0)


def test_a_changed_key_is_used_and_a_broken_one_is_reported(demo, consul):
    hello, response = demo
    consul.put("kv/minion_phrases", ["Poopaye!"])
    assert hello.get("/hello").json() == {"message": "Hello! Poopaye!"}
    consul.put("kv/minion_phrases", "Bello!")
    assert response.get("/phrase").status_code == 500
    assert "not a JSON list" in response.get("/health").json()["reason"]
    consul.put("kv/minion_phrases", ["Bello!"])
    response.wait_for("/health")
    total, successful, failed = totals(response, "response_service")
    assert (total, failed) == (successful + failed, 1)


def test_response_killed_hello_fails_counts_it_and_stays_ready(demo, consul):
    hello, response = demo
    response.end(signal.SIGKILL)
    assert hello.get("/hello").status_code == 503
    wait_until(lambda: not consul.passing("response-service"), timeout=30, what="critical in Consul", hint="")
    wait_until(lambda: "no healthy instance" in hello.get("/hello").text, timeout=30, what="it is noticed", hint="")
    assert hello.get("/health").status_code == 200
    total, successful, failed = totals(hello, "hello_service")
    assert (successful, failed) == (0, total)


def test_response_frozen_hello_answers_503_in_time_and_can_still_be_scraped(demo):
    hello, response = demo
    response.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(12) as threads:
            started = time.monotonic()
            calls = [threads.submit(hello.get, "/hello") for _ in range(12)]
            scrape_started = time.monotonic()
            assert hello.get("/metrics").status_code == 200
            assert time.monotonic() - scrape_started < 1.5, "a scrape must not wait for the hung calls"
            assert {call.result(timeout=30).status_code for call in calls} == {503}
            assert time.monotonic() - started < 6
    finally:
        response.process.send_signal(signal.SIGCONT)


def test_hello_finishes_what_it_has_begun_before_it_ends(demo):
    """The request hangs for two seconds on a frozen response-service; SIGTERM comes in the middle of it."""
    hello, response = demo
    response.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(hello.get, "/hello")
            wait_until(
                lambda: hello.metric("hello_service_total_requests_total") == 1, timeout=10, what="call", hint=""
            )
            code, _ = hello.end()
            assert call.result(timeout=30).status_code == 503
            assert code == 0
    finally:
        response.process.send_signal(signal.SIGCONT)


def test_traffic_keeps_its_pace_counts_and_ends_on_sigterm(demo, consul, start):
    hello, response = demo
    traffic = start("traffic", "--consul", consul.url, "--rate", "20").wait_alive()
    wait_until(lambda: traffic.metric('traffic_requests_total{outcome="ok"}') >= 10, timeout=30, what="ok", hint="")
    response.end(signal.SIGKILL)
    wait_until(
        lambda: traffic.metric('traffic_requests_total{outcome="failed"}') >= 5, timeout=30, what="failed", hint=""
    )
    hello.end()
    wait_until(
        lambda: traffic.metric('traffic_requests_total{outcome="unreachable"}') >= 5, timeout=30, what="gone", hint=""
    )
    assert traffic.get("/health").status_code == 200
    assert traffic.end()[0] == 0


def test_a_token_never_shows(start, consul):
    env = {
        "PATH": "/usr/bin:/bin",
        "CONSUL_HTTP_TOKEN": "the-secret",
        "CONSUL_HTTP_ADDR": consul.url.removeprefix("http://"),
    }
    response = start("response-service", env=env).wait_alive()
    response.get("/phrase")
    response.get("/health")
    assert "the-secret" not in response.log.read_text()
    assert "the-secret" not in Path(f"/proc/{response.process.pid}/cmdline").read_text()
