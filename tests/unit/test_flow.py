"""A deploy ends when a span and a line of its own were found again; and says what did not arrive."""

from __future__ import annotations

import pytest

from obsctl.errors import ObsctlError, Unreachable
from obsctl.model import Event
from obsctl.stack.health import Tools
from obsctl.stack.verify import verify
from tests.fakes import FakeClock, FakeConsul, FakeJaeger, FakeLogs, FakeNomad, FakeOtlp, FakePrograms
from tests.world import ALERT_PATH, config


class Road:
    """An agent, and the backends that what it takes comes to."""

    def __init__(self) -> None:
        self.clock, self.jaeger, self.store = FakeClock(), FakeJaeger(), FakeLogs()
        self.agent = FakeOtlp(self.jaeger, self.store)
        self.events: list[Event] = []

    def wait(self, *, jaeger: bool = True, store: bool = True, timeout: float = 20) -> None:
        enabled = {**dict.fromkeys(ALERT_PATH, False), "jaeger": jaeger, "victorialogs": store}
        enabled |= dict.fromkeys(("otel-agent", "otel-gateway"), True)
        wanted = config(components={name: {"enabled": on} for name, on in enabled.items()})
        consul = FakeConsul()
        nomad = FakeNomad()
        programs = FakePrograms(nomad, consul, otel_agent=self.agent, jaeger=self.jaeger, logs=self.store)
        verify(wanted, programs, Tools(nomad, consul, self.events.append, timeout, clock=self.clock))


@pytest.fixture
def road() -> Road:
    return Road()


def test_a_span_and_a_line_that_arrive_are_enough(road: Road) -> None:
    road.wait()
    assert [(event.subject, event.state) for event in road.events] == [
        ("telemetry path", "start"),
        ("telemetry path", "ok"),
    ]


def test_both_belong_to_one_trace_that_is_new_each_time(road: Road) -> None:
    road.wait()
    road.wait()
    spans = [group["scopeSpans"][0]["spans"][0]["traceId"] for group in road.jaeger.received]
    assert spans == [fields["trace_id"] for _, fields in road.store.entries]
    assert len(set(spans)) == 2


def test_what_takes_a_while_is_waited_for(road: Road) -> None:
    road.agent.jaeger = None
    road.clock.after(5, lambda: deliver_late(road))
    road.wait()
    assert road.clock.monotonic() >= 5
    assert "note" not in {event.state for event in road.events}, "a few seconds are nothing to tell"


def deliver_late(road: Road) -> None:
    """The span that was on its way arrives."""
    road.agent.jaeger = road.jaeger
    at, fields = road.store.entries[0]
    road.agent.send_span("obsctl", "verify", trace_id=fields["trace_id"], span_id=fields["span_id"], at=at / 1e9)


@pytest.mark.parametrize(
    ("broken", "words"), [("jaeger", "Jaeger does not have the trace"), ("logs", "VictoriaLogs does not have the line")]
)
def test_what_does_not_arrive_is_named(broken: str, words: str, road: Road) -> None:
    setattr(road.agent, broken, None)
    with pytest.raises(ObsctlError, match="the telemetry path is not complete after 20 s") as caught:
        road.wait()
    assert words in caught.value.message
    assert caught.value.message.count("\n") == 1, "only what is missing"
    [note] = [event.text for event in road.events if event.state == "note"]
    assert note.startswith("still missing: ")
    assert words in note


def test_a_backend_that_the_stack_does_not_have_is_not_asked(road: Road) -> None:
    road.wait(jaeger=False)
    road.wait(store=False)
    assert len(road.jaeger.received) == len(road.store.entries) == 1


def test_a_backend_that_fails_for_a_moment_is_asked_again(road: Road) -> None:
    road.jaeger.failures["trace"] = Unreachable("Jaeger is away", hint="")
    road.clock.after(3, road.jaeger.failures.clear)
    road.wait()
    assert road.clock.monotonic() >= 3


def test_an_agent_that_takes_nothing_is_named(road: Road) -> None:
    road.agent.failures["send_span"] = Unreachable("otel-agent is away", hint="")
    with pytest.raises(ObsctlError, match="not complete after 20 s:\n  otel-agent is away"):
        road.wait()


@pytest.mark.parametrize("call", ["send_span", "send_line"])
def test_what_an_agent_refuses_for_a_moment_is_sent_again_and_once(call: str, road: Road) -> None:
    """It reads its configuration anew some seconds after a deploy has changed it."""
    road.agent.failures[call] = Unreachable("otel-agent is away", hint="")
    road.clock.after(3, road.agent.failures.clear)
    road.wait()
    assert road.clock.monotonic() >= 3
    assert len(road.jaeger.received) == len(road.store.entries) == 1
