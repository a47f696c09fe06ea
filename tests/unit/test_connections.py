"""Which connections are closed, with channels that stand for waitress's."""

from types import SimpleNamespace

import pytest

from obsctl.services.connections import ANSWER_SECONDS, MAX_CONNECTIONS, REQUEST_SECONDS, STALL_SECONDS, Connections
from tests.fakes.clock import FakeClock


class Channel(SimpleNamespace):
    def __init__(self, clock, **state):
        usual = {"total_outbufs_len": 0, "requests": [], "request": None, "creation_time": clock.now()}
        super().__init__(**{**usual, "last_activity": clock.now(), "closed": False, **state})

    __hash__ = object.__hash__

    def handle_close(self):
        self.closed = True


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def connections(clock):
    return Connections(clock)


def half_sent():
    return SimpleNamespace(close=lambda: None)


def seconds_until_closed(channel, connections, clock, act=lambda: None):
    for second in range(300):
        connections.look([channel])
        if channel.closed:
            return second
        act()
        clock.sleep(1)
    return None


def test_who_sends_nothing_or_half_a_request_has_a_few_seconds(connections, clock):
    for channel in (Channel(clock), Channel(clock, request=half_sent())):
        assert seconds_until_closed(channel, connections, clock) == REQUEST_SECONDS + 1


def test_sending_on_gives_no_more_time(connections, clock):
    channel = Channel(clock, request=half_sent())

    def drip():
        channel.last_activity = clock.now()

    assert seconds_until_closed(channel, connections, clock, drip) == REQUEST_SECONDS + 1


def test_each_request_has_its_own_time(connections, clock):
    channel = Channel(clock, request=half_sent())

    def next_request():
        channel.request = half_sent()

    assert seconds_until_closed(channel, connections, clock, next_request) is None


def test_a_connection_between_requests_and_one_that_we_work_on_stay(connections, clock):
    for state in ({"creation_time": 0.0}, {"requests": ["one"], "request": half_sent()}):
        assert seconds_until_closed(Channel(clock, **state), connections, clock) is None


def test_who_does_not_read_the_answer_is_closed_and_who_reads_slowly_a_while_later(connections, clock):
    channel = Channel(clock, total_outbufs_len=1, requests=["one"])
    assert seconds_until_closed(channel, connections, clock) == STALL_SECONDS + 1
    channel = Channel(clock, total_outbufs_len=1, requests=["one"])

    def read():
        channel.last_activity = clock.now()

    assert seconds_until_closed(channel, connections, clock, read) == ANSWER_SECONDS + 1


def test_of_too_many_those_that_wait_longest_are_closed(connections, clock):
    old = [Channel(clock, creation_time=0.0) for _ in range(MAX_CONNECTIONS)]
    busy = Channel(clock, requests=["one"])
    connections.look([busy, *old])
    assert sum(channel.closed for channel in old) == 1
    left = [channel for channel in old if not channel.closed]
    clock.sleep(1)
    new = [Channel(clock) for _ in range(3)]
    connections.look([busy, *left, *new])
    assert sum(channel.closed for channel in left) == 3
    assert not any(channel.closed for channel in (busy, *new))


def test_it_is_logged_once_a_minute(connections, clock, caplog):
    for _ in range(60):
        connections.look([Channel(clock, total_outbufs_len=1, last_activity=0.0)])
        clock.sleep(1)
    assert [record.message for record in caplog.records] == ["closed 1 connections that were slow or too many"]
