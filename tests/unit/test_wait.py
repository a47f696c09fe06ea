"""The one loop that waits."""

from __future__ import annotations

import time

import pytest

from obsctl.errors import DeadlineExceeded, ObsctlError
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.fakes import FakeClock


class Probe:
    """Gives "yes" from a moment on, and counts how often it was asked."""

    def __init__(self, clock: FakeClock, from_second: float) -> None:
        self.clock, self.from_second, self.asked = clock, from_second, 0

    def __call__(self) -> str | None:
        self.asked += 1
        return "yes" if self.clock.monotonic() >= self.from_second else None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def wait(probe: Probe, *, timeout: float, interval: float = 1.0) -> str:
    return wait_until(
        probe,
        timeout=timeout,
        failure="the server did not answer",
        hint="ask again",
        interval=interval,
        clock=probe.clock,
    )


def test_what_is_true_already_costs_no_time(clock: FakeClock) -> None:
    assert wait(Probe(clock, 0), timeout=0) == "yes"
    assert clock.monotonic() == 0


def test_it_gives_what_the_probe_gave(clock: FakeClock) -> None:
    assert wait(Probe(clock, 2.5), timeout=10) == "yes"
    assert clock.monotonic() == 3


def test_it_asks_at_every_interval(clock: FakeClock) -> None:
    probe = Probe(clock, 5)
    wait(probe, timeout=10)
    assert probe.asked == 6


def test_it_asks_once_more_at_the_deadline_itself(clock: FakeClock) -> None:
    assert wait(Probe(clock, 10), timeout=10, interval=7) == "yes"
    assert clock.monotonic() == 10


def test_after_the_deadline_it_says_what_did_not_happen(clock: FakeClock) -> None:
    with pytest.raises(DeadlineExceeded, match=r"^the server did not answer within 10 s$") as caught:
        wait(Probe(clock, 10.5), timeout=10)
    assert caught.value.hint == "ask again"
    assert clock.monotonic() == 10


def test_what_the_probe_raises_ends_the_wait(clock: FakeClock) -> None:
    def probe() -> None:
        raise ObsctlError("gone", hint="")

    with pytest.raises(ObsctlError, match="gone"):
        wait_until(probe, timeout=10, failure="", hint="", clock=clock)
    assert clock.monotonic() == 0


def test_the_systems_clocks_agree_with_the_machine() -> None:
    assert abs(SYSTEM_CLOCK.now() - time.time()) < 1
    began = SYSTEM_CLOCK.monotonic()
    SYSTEM_CLOCK.sleep(0.01)
    assert SYSTEM_CLOCK.monotonic() - began >= 0.01
