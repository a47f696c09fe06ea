"""The dead man's notification: told once, sent again until it is taken, and told when it is over."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from obsctl.services.alarm import LONGEST_PAUSE, Alarm
from obsctl.services.notifications import check_webhook
from obsctl.services.watchdog import Watchdog
from tests.fakes.clock import FakeClock

URL = "https://hooks.example/a-token"


class World:
    """An alarm whose webhook answers `trouble`, and what it was sent."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = FakeClock()
        self.sent = []
        self.trouble = ""
        (folder / "url").write_text(f"{URL}\n")
        self.start()

    def start(self):
        self.watchdog = Watchdog(10.0, clock=self.clock)
        self.registry = CollectorRegistry()
        self.alarm = Alarm("obs", self.watchdog, self.folder / "url", self.folder, self.registry,
                           clock=self.clock, post=self.post)  # fmt: skip

    def post(self, url, message):
        self.sent.append((url, message))
        if isinstance(self.trouble, Exception):
            raise self.trouble
        return self.trouble

    def wait(self, seconds):
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.sleep(self.alarm.turn())

    def beat(self):
        self.watchdog.beat(self.clock.now())

    @property
    def told(self):
        return [message["status"] for _, message in self.sent]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_silence_is_told_once_and_so_is_its_end(world):
    world.beat()
    world.wait(25)
    assert world.told == []
    world.wait(600)
    assert world.told == ["firing"]
    world.beat()
    world.wait(10)
    assert world.told == ["firing", "resolved"]
    assert {url for url, _ in world.sent} == {URL}


def test_a_heartbeat_that_never_came_is_told_too(world):
    world.wait(40)
    assert world.told == ["firing"]
    assert "since alert-sink started" in world.sent[0][1]["text"]


def test_what_is_not_taken_is_sent_again_with_growing_pauses_until_it_is(world):
    world.trouble = "the answer was 503"
    world.wait(3600)
    assert 50 < len(world.sent) < 3600 / LONGEST_PAUSE + 10
    assert world.registry.get_sample_value("alert_sink_alarm_failures_total") == len(world.sent)
    world.trouble = ""
    world.wait(LONGEST_PAUSE + 1)
    count = len(world.sent)
    world.wait(600)
    assert len(world.sent) == count


def test_a_silence_that_nobody_was_told_of_has_no_end_to_tell(world):
    world.trouble = "the answer was 503"
    world.wait(60)
    world.trouble = ""
    world.beat()
    world.sent.clear()
    world.wait(20)
    assert world.sent == []


def test_after_a_restart_it_tells_no_silence_twice_and_its_end_only_when_it_is_heard(world):
    world.wait(40)
    world.start()
    world.wait(600)
    assert world.told == ["firing"]
    world.start()
    world.beat()
    world.wait(5)
    assert world.told == ["firing", "resolved"]
    world.start()
    world.beat()
    world.wait(20)
    assert world.told == ["firing", "resolved"]


def test_the_message_is_alertmanagers_webhook(world):
    world.beat()
    world.wait(40)
    world.beat()
    world.wait(1)
    (_, begin), (_, end) = world.sent
    for message in (begin, end):
        check_webhook(message)
        [alert] = message["alerts"]
        assert alert["labels"] == {"alertname": "AlertPathSilent", "severity": "critical", "stack": "obs"}
        assert message["text"] == alert["annotations"]["summary"]
    assert begin["alerts"][0]["fingerprint"] == end["alerts"][0]["fingerprint"]
    assert "no heartbeat since 20" in begin["text"]
    assert "the heartbeat is back" in end["text"]


def test_its_address_shows_in_no_log(world, caplog):
    caplog.set_level(logging.DEBUG)
    world.trouble = "the answer was 404"
    world.wait(100)
    world.trouble = ""
    world.wait(100)
    (world.folder / "url").unlink()
    world.beat()
    world.wait(10)
    assert "could not be told" in caplog.text
    assert "its address cannot be read" in caplog.text
    assert "a-token" not in caplog.text


class Ended(BaseException):
    """Ends what runs for ever."""


def test_a_bug_in_one_turn_does_not_end_the_others(world, caplog):
    def end():
        raise Ended

    world.trouble = RuntimeError("a bug")
    world.clock.after(LONGEST_PAUSE, lambda: setattr(world, "trouble", ""))
    world.clock.after(5 * LONGEST_PAUSE, end)
    with pytest.raises(Ended):
        world.alarm.run()
    assert "because of a bug" in caplog.text
    assert world.told == ["firing", "firing"]
