import threading

import pytest
import requests
import responses
from prometheus_client import CollectorRegistry

from obsctl.demo.discovery import Discovery
from obsctl.demo.traffic import Traffic, next_slot, sending
from tests.fakes import FakeClock, FakeConsul

HELLO = "http://127.0.0.1:5050/hello"


@pytest.fixture
def http():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def consul():
    consul = FakeConsul()
    for service in ("hello-service", "response-service"):
        consul.register(service, port=5050)
    return consul


@pytest.fixture
def registry():
    return CollectorRegistry()


def counts(registry):
    return {
        outcome: registry.get_sample_value("traffic_requests_total", {"outcome": outcome})
        for outcome in ("ok", "failed", "unreachable")
    }


@pytest.mark.parametrize(
    ("hello_says", "outcome"),
    [
        ({"json": {"message": "Hello!"}}, "ok"),
        ({"status": 503}, "failed"),
        ({"status": 302, "headers": {"Location": "http://10.9.9.9/"}}, "failed"),
        ({"body": requests.ConnectionError("refused")}, "unreachable"),
        ({"body": requests.ReadTimeout()}, "unreachable"),
    ],
)
def test_each_outcome_is_counted(http, consul, registry, hello_says, outcome):
    http.get(HELLO, **hello_says)
    assert Traffic(Discovery(consul), registry).send() == outcome
    assert counts(registry) == {"ok": 0, "failed": 0, "unreachable": 0, outcome: 1}


def test_without_a_healthy_instance_nothing_is_sent_anywhere(http, consul, registry):
    consul.register("hello-service", status="critical")
    assert Traffic(Discovery(consul), registry).send() == "unreachable"
    assert list(http.calls) == []


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (100.01, 100.25),  # a quick answer
        (100.25, 100.25),  # just in time
        (100.30, 100.50),  # one slot passed: left out
        (160.10, 160.25),  # an outage of a minute: no burst, and still in step
    ],
)
def test_slots_that_passed_are_left_out(now, expected):
    assert next_slot(100.0, 0.25, now=now) == pytest.approx(expected)


class Script:
    """Stands for time and for hello-service: every request takes as long as the script says."""

    def __init__(self, *seconds):
        self.time = 0.0
        self.seconds = list(seconds)
        self.sent_at = []

    def monotonic(self):
        return self.time

    def wait(self, seconds):
        self.time += seconds
        return not self.seconds

    def send(self):
        self.sent_at.append(self.time)
        self.time += self.seconds.pop(0)


def test_the_pace_is_kept_and_there_is_no_burst_after_slow_answers(consul, registry, monkeypatch):
    script = Script(0.1, 0.1, 3.7, 0.1, 0.1)
    traffic = Traffic(Discovery(consul), registry, clock=script)
    monkeypatch.setattr(traffic, "send", script.send)
    traffic.keep_sending(first=0.0, interval=1.0, stop=script)
    assert script.sent_at == [0.0, 1.0, 2.0, 6.0, 7.0]


@pytest.mark.parametrize("missing", ["hello-service", "response-service"])
def test_nothing_is_sent_before_both_services_are_there(consul, registry, missing):
    consul.deregister(missing)
    clock = FakeClock()
    traffic = Traffic(Discovery(consul, clock), registry, clock=clock)
    clock.after(5, lambda: consul.register(missing))
    traffic.wait_for_services(Waiting(clock))
    assert 5 <= clock.monotonic() < 7


def test_a_service_that_never_comes_is_not_waited_for_for_ever(consul, registry):
    consul.deregister("response-service")
    clock = FakeClock()
    Traffic(Discovery(consul, clock), registry, clock=clock).wait_for_services(Waiting(clock))
    assert 60 <= clock.monotonic() < 62


class Waiting:
    """Stands for a `stop` that is never set, in the clock's time."""

    def __init__(self, clock):
        self.clock = clock

    def wait(self, seconds):
        self.clock.sleep(seconds)
        return False


def test_sending_starts_within_and_ends_with_the_block(consul, registry, monkeypatch):
    traffic = Traffic(Discovery(consul), registry)
    sent = threading.Semaphore(0)
    monkeypatch.setattr(traffic, "send", sent.release)
    before = threading.active_count()
    with sending(traffic, rate=50):
        assert all(sent.acquire(timeout=10) for _ in range(20))
    assert threading.active_count() == before
