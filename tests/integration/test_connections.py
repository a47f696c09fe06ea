"""Slow, half-sent and many requests, by real sockets: they keep nobody out, and memory stays small."""

import json
import os
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from obsctl.services.connections import MAX_CONNECTIONS, REQUEST_SECONDS
from obsctl.services.web import MAX_BODY_BYTES
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deliveries import SECRET, deliver, received, webhook

pytestmark = [pytest.mark.real, pytest.mark.timed]

TASK_MEMORY = 128 * 1024 * 1024
HALVES = (
    b"",
    b"POST /webhook HTTP/1.1\r\nHost: sin",
    b"POST /webhook HTTP/1.1\r\nHost: sink\r\nContent-Length: 1000\r\n\r\n{",
)


@pytest.fixture
def connect():
    """Opens connections; those still open when the test ends are closed."""
    with ExitStack() as connections:

        def connect_one(program):
            return connections.enter_context(socket.create_connection(("127.0.0.1", program.port), timeout=5))

        yield connect_one


def is_closed(client):
    """Whether the server has closed it without an answer."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def most_memory(program):
    """The most that it has held at once, in bytes."""
    lines = Path(f"/proc/{program.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_hundreds_of_half_open_connections_do_not_keep_alertmanager_out(start_sink, connect):
    sink = start_sink()
    for number in range(3 * MAX_CONNECTIONS):
        with suppress(OSError):
            connect(sink).sendall(HALVES[number % len(HALVES)])
    begun = time.monotonic()
    assert deliver(sink.url, webhook("Delivered")).status_code == 200
    assert received(sink) == ["Delivered"]
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("program", ["hello-service", "response-service", "warden", "traffic"])
def test_the_other_programs_have_the_same_server(start, connect, program):
    more = ("--stack", "obs") if program == "warden" else ()
    started = start(program, *more, env={**os.environ, "WARDEN_RECIPE_KEY": "a-key"}).wait_alive()
    halves = [connect(started) for _ in range(MAX_CONNECTIONS + 50)]
    for number, half in enumerate(halves):
        with suppress(OSError):
            half.sendall(HALVES[number % len(HALVES)])
    assert started.get("/alive").status_code == 200


@pytest.mark.parametrize("half", HALVES, ids=["nothing", "header", "body"])
def test_a_request_that_is_not_sent_in_a_few_seconds_is_cut(start_sink, connect, half):
    sink = start_sink()
    client = connect(sink)
    client.sendall(half)
    begun = time.monotonic()
    wait_until(lambda: is_closed(client), timeout=4 * REQUEST_SECONDS, failure="no sign of the end", hint="")
    assert REQUEST_SECONDS - 1 < time.monotonic() - begun < REQUEST_SECONDS + 3


def test_a_request_that_drips_is_cut_too(start_sink, connect):
    sink = start_sink()
    client = connect(sink)
    begun = time.monotonic()

    def is_cut():
        try:
            client.send(b"x")
        except OSError:
            return True
        return False

    wait_until(is_cut, timeout=4 * REQUEST_SECONDS, failure="the server reads on", hint="", interval=0.2)
    assert REQUEST_SECONDS - 1 < time.monotonic() - begun < REQUEST_SECONDS + 5


def test_a_kept_connection_is_not_cut_between_its_requests(start_sink):
    sink = start_sink()
    with requests.Session() as session:
        deliver(sink.url, webhook("First"), session).raise_for_status()
        SYSTEM_CLOCK.sleep(REQUEST_SECONDS + 2)
        deliver(sink.url, webhook("Second"), session).raise_for_status()
        managers = [adapter.poolmanager for adapter in session.adapters.values()]
        pools = [manager.pools[key] for manager in managers for key in set(manager.pools.keys())]
        assert [pool.num_connections for pool in pools] == [1]
    assert received(sink) == ["First", "Second"]


def test_those_who_ask_and_do_not_read_keep_no_delivery_out(start_sink, connect):
    sink = start_sink()
    for number in range(20):
        deliver(sink.url, webhook(f"Large{number}", padding=900_000)).raise_for_status()
    for _ in range(MAX_CONNECTIONS):
        connect(sink).sendall(b"GET /api/notifications HTTP/1.1\r\nHost: sink\r\n\r\n")
    begun = time.monotonic()
    assert deliver(sink.url, webhook("Delivered")).status_code == 200
    assert sink.get("/alive").status_code == 200
    assert time.monotonic() - begun < 5
    assert most_memory(sink) < TASK_MEMORY, most_memory(sink)
    wait_until(lambda: sink.get("/").status_code == 200, timeout=20, failure="no sign of the page", hint="")


def dense(name):
    """A delivery of nearly 1 MB whose values take as much memory as those of any that is taken."""
    more = {"x": [{"": 0}] * 19_900, "y": ["ab"] * 120_000, "z": [1.5] * 20_000}
    body = json.dumps({**webhook(name), **more}, separators=(",", ":")).encode()
    assert MAX_BODY_BYTES * 0.7 < len(body) < MAX_BODY_BYTES
    return body


def is_answered(sink, body, auth, cut):
    """Whether a delivery is. One that is cut off made way for another one, and Alertmanager tries again. cut: gets one
    more for each of these."""
    headers = {"Content-Type": "application/json"}
    try:
        requests.post(f"{sink.url}/webhook", data=body, auth=auth, timeout=60, headers=headers)
    except requests.ConnectionError:
        cut.append(auth)
        return False
    return True


def test_whatever_comes_in_its_memory_stays_below_that_of_its_task(start_sink, connect):
    sink = start_sink()
    body, auth = dense("Dense"), ("alertmanager", SECRET)
    head = b"POST /webhook HTTP/1.1\r\nHost: sink\r\nContent-Length: %d\r\n\r\n" % len(body)

    cut = []

    def post(auth):
        for _ in range(4):
            wait_until(lambda: is_answered(sink, body, auth, cut), timeout=60, failure="no sign of an answer", hint="")

    def read():
        for _ in range(4):
            sink.get("/")
            requests.get(f"{sink.url}/api/notifications", timeout=60)

    for _ in range(MAX_CONNECTIONS):
        with suppress(OSError):
            connect(sink).sendall((head + body)[:-1])
    threads = [threading.Thread(target=post, args=(who,)) for who in (auth, None) * 8]
    threads += [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 32 <= len(received(sink)) <= 32 + cut.count(auth)  # one that was cut off in its answer came twice
    assert most_memory(sink) < TASK_MEMORY, most_memory(sink)
