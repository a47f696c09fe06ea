"""traffic: calls hello-service steadily, so that metrics, traces and alerts have something to show."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter

from obsctl import names
from obsctl.clients.protocols import ConsulApi
from obsctl.demo import telemetry
from obsctl.demo.discovery import Discovery
from obsctl.demo.visits import OUTCOMES, visit
from obsctl.services.web import WebServer, create_app
from obsctl.wait import SYSTEM_CLOCK, Clock

VERSION = "1.0.0"
# Several senders take turns, so that slow answers do not lower the rate; not more than one hello-service can serve.
MAX_SENDERS = 16
STOP_SECONDS = 5.0
STARTING_SECONDS = 60.0

_log = logging.getLogger("obsctl")
_tracer = trace.get_tracer("obsctl.demo")


class Traffic:
    """Sends requests to hello-service and counts them by outcome."""

    def __init__(self, discovery: Discovery, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK) -> None:
        self._discovery = discovery
        self._clock = clock
        self._requests = Counter("traffic_requests", "Requests sent.", ["outcome"], registry=registry)
        for outcome in OUTCOMES:
            self._requests.labels(outcome)

    def send(self) -> str:
        """Send one request; returns its outcome."""
        with _tracer.start_as_current_span("send request"):
            answer = visit(lambda: self._discovery.pick(names.HELLO_SERVICE))
            level = logging.INFO if answer.outcome == "ok" else logging.WARNING
            _log.log(level, "hello-service: %s in %.0f ms: %s", answer.outcome, answer.seconds * 1000, answer.answer)
        self._requests.labels(answer.outcome).inc()
        return answer.outcome

    def wait_for_services(self, stop: threading.Event) -> None:
        """Wait until both services of the demo are healthy, a minute at most: a first deploy starts them together, and
        requests that fail in the meantime would look like a bug."""
        end = self._clock.monotonic() + STARTING_SECONDS
        while not all(self._discovery.has(service) for service in (names.HELLO_SERVICE, names.RESPONSE_SERVICE)):
            if self._clock.monotonic() >= end or stop.wait(0.2):
                return

    def keep_sending(self, *, first: float, interval: float, stop: threading.Event) -> None:
        """Send one request every `interval` seconds from `first` (monotonic) on, until `stop` is set."""
        slot = first
        while not stop.wait(max(0.0, slot - self._clock.monotonic())):
            self.send()
            slot = next_slot(slot, interval, now=self._clock.monotonic())


def next_slot(slot: float, interval: float, *, now: float) -> float:
    """The next slot to send in. Slots that have passed are left out, so there is no burst after an outage."""
    return slot + interval * max(1, math.ceil((now - slot) / interval))


@contextmanager
def sending(traffic: Traffic, rate: float, clock: Clock = SYSTEM_CLOCK) -> Iterator[None]:
    """While inside, send `rate` requests a second; on leaving, wait a moment for their answers."""
    senders = min(MAX_SENDERS, math.ceil(rate))
    stop = threading.Event()
    start = clock.monotonic()

    def send_from(first: float) -> None:
        traffic.wait_for_services(stop)
        traffic.keep_sending(first=first, interval=senders / rate, stop=stop)

    threads = [threading.Thread(target=send_from, args=(start + turn / rate,), daemon=True) for turn in range(senders)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        deadline = clock.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - clock.monotonic()))


def run(*, bind: str, port: int, consul: ConsulApi, stack: str | None, rate: float) -> None:
    """Send `rate` requests a second, and serve metrics, until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    with telemetry.running(names.TRAFFIC, VERSION):
        server = WebServer(create_app(registry), bind=bind, port=port)
        with sending(Traffic(Discovery(consul, stack=stack), registry), rate):
            server.run_until_signalled()
