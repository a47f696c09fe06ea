"""alert-sink as a real process: deliveries, kills, and how the server beneath all our programs stops."""

import json
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests

from obsctl.services.web import SETTLE_SECONDS
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deliveries import SECRET, deliver, received, webhook
from tests.programs import freeze
from tests.stub_server import Answer, stub_server

pytestmark = pytest.mark.real


class Deliverers:
    """Deliver notifications from several threads, as fast as the sink takes them, and note which were acknowledged."""

    def __init__(self, url, count=4, padding=2000):
        self.acknowledged = []
        self.stop = threading.Event()
        self._url = url
        self._padding = padding
        self._threads = [threading.Thread(target=self._deliver, args=(number,)) for number in range(count)]

    def _deliver(self, thread):
        number = 0
        while not self.stop.is_set():
            name = f"{thread}-{number}"
            try:
                answer = deliver(self._url, webhook(name, self._padding))
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
            lambda: len(deliverers.acknowledged) >= enough,
            timeout=30,
            failure="no sign of deliveries",
            hint="",
            interval=0.001,
        )
        sink.end(signal.SIGKILL)
    again = start_sink(port=sink.port)
    assert set(deliverers.acknowledged) <= set(received(again))
    assert len(received(again)) == len(set(received(again)))
    deliver(again.url, webhook("after")).raise_for_status()
    again.end(signal.SIGKILL)
    assert received(start_sink(port=sink.port))[-1] == "after"


def test_a_disk_that_fills_up_amid_a_line_answers_500_and_the_retry_is_kept(start_sink, tmp_path):
    sink = start_sink()
    deliver(sink.url, webhook("Before")).raise_for_status()
    size = (tmp_path / "data" / "notifications.jsonl").stat().st_size
    _, hard = resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE, (size + 50, hard))
    assert deliver(sink.url, webhook("Retried")).status_code == 500
    assert sink.metric("alert_sink_write_failures_total") == 1
    assert (tmp_path / "data" / "notifications.jsonl").stat().st_size == size + 50, "the line was torn"
    assert sink.get("/health").status_code == 200
    resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    deliver(sink.url, webhook("Retried")).raise_for_status()
    sink.end()
    again = start_sink()
    assert received(again) == ["Before", "Retried"]
    assert again.metric("alert_sink_skipped_lines") == 1


def test_the_watchdog_falls_silent_and_speaks_again(start_sink):
    sink = start_sink(heartbeat=1)
    deliver(sink.url, webhook("Watchdog")).raise_for_status()
    assert sink.metric("alert_sink_watchdog_last_seen_timestamp_seconds") == pytest.approx(time.time(), abs=10)
    wait_until(
        lambda: sink.metric("alert_sink_watchdog_silent") == 1, timeout=10, failure="no sign of silence", hint=""
    )
    assert "Watchdog silent" in sink.get("/").text
    deliver(sink.url, webhook("Watchdog")).raise_for_status()
    assert sink.get("/api/watchdog").json()["silent"] is False


def test_a_webhook_outside_is_told_of_the_silence_and_of_its_end(start_sink, tmp_path):
    with stub_server() as hook:
        hook.answers = [Answer(503), Answer(200)]
        (tmp_path / "url").write_text(f"{hook.address}/TOKEN")
        sink = start_sink(heartbeat=1, more=("--silence-webhook-file", str(tmp_path / "url")))

        def told():
            return [(asked.path, json.loads(asked.body)["status"]) for asked in hook.asked]

        firing, resolved = ("/TOKEN", "firing"), ("/TOKEN", "resolved")
        wait_until(lambda: told() == [firing, firing], timeout=20, failure="no sign of the silence", hint="")
        deliver(sink.url, webhook("Watchdog")).raise_for_status()
        wait_until(lambda: told() == [firing, firing, resolved], timeout=20, failure="no sign of its end", hint="")
    assert sink.metric("alert_sink_alarm_failures_total") >= 1
    assert "TOKEN" not in sink.log.read_text()


def test_a_heartbeat_from_before_a_restart_is_remembered(start_sink):
    sink = start_sink()
    deliver(sink.url, webhook("Watchdog")).raise_for_status()
    last_seen = sink.get("/api/watchdog").json()["last_seen"]
    sink.end()
    assert start_sink().get("/api/watchdog").json()["last_seen"] == last_seen


# Stopping and starting


def request_bytes(name):
    request = requests.Request(
        "POST", "http://sink/webhook", json=webhook(name), auth=("alertmanager", SECRET)
    ).prepare()
    headers = {"Host": "sink", **request.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /webhook HTTP/1.1\r\n{head}\r\n".encode() + request.body


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
        wait_until(
            lambda: takes_no_more(sink.port),
            timeout=10,
            failure="no sign of no new connections",
            hint="",
            interval=0.01,
        )
        SYSTEM_CLOCK.sleep(2 * SETTLE_SECONDS)  # a client may well be slow; only idle connections are given up
        for client in clients:
            client.sendall(request_bytes("Half")[80:])
        answers = [read_answer(client) for client in clients]
    assert sink.process.wait(timeout=10) == 0
    assert all(answer.startswith(b"HTTP/1.1 200 OK") and b"Connection: close" in answer for answer in answers)


def test_stopped_it_answers_connections_that_still_wait_to_be_accepted(start_sink):
    sink = start_sink()
    freeze(sink.process)
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
                answer = deliver(sink.url, webhook(f"{thread}-{count}"), session)
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
    options = ("--data-dir", str(tmp_path / "other"), "--secret-file", str(tmp_path / "secret"))
    second = start("alert-sink", *options, port=sink.port)
    assert second.process.wait(timeout=30) == 1
    said = second.log.read_text()
    assert f"Error: cannot listen on 127.0.0.1:{sink.port}" in said
    assert "Hint: choose a free --port" in said
    assert "Traceback" not in said
