"""The lock of a stack: one holder, who is named, who loses it when Consul says so, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import threading

import pytest

from obsctl import lease
from obsctl.errors import ApiError, ObsctlError, Unreachable
from obsctl.names import lock_key
from tests.fakes import FakeClock, FakeConsul

UNREACHABLE = Unreachable("no connection", hint="")


@pytest.fixture
def consul() -> FakeConsul:
    return FakeConsul()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper renews without waiting long."""
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.005)


def outage(consul: FakeConsul, clock: FakeClock, seconds: float) -> threading.Event:
    """Renewals fail for so long, a second each; the event is set when one is answered again."""
    over = threading.Event()
    ends = clock.monotonic() + seconds

    def renew(session: str) -> None:
        if clock.monotonic() < ends:
            clock.sleep(1)
            raise UNREACHABLE
        over.set()

    consul.renew_session = renew  # type: ignore[method-assign]
    return over


def keepers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "obsctl-lease"]


def test_it_is_held_by_one_who_is_named(consul: FakeConsul) -> None:
    with lease.hold(consul, "obs", "deploy"):
        held = lease.holder(consul, "obs")
        assert held is not None
        assert (held.command, held.pid) == ("deploy", os.getpid())
        assert str(held).startswith("deploy by ")


def test_afterwards_nothing_is_left(consul: FakeConsul) -> None:
    with lease.hold(consul, "obs", "deploy") as held:
        pass
    assert lease.holder(consul, "obs") is None
    assert consul.entries("") == []
    assert not consul.session_exists(held.session)
    assert keepers() == []


@pytest.mark.parametrize("error", [ObsctlError("failed", hint=""), KeyboardInterrupt()])
def test_nothing_is_left_after_a_failure_either(consul: FakeConsul, error: BaseException) -> None:
    with pytest.raises(type(error)), lease.hold(consul, "obs", "deploy"):
        raise error
    assert consul.entries("") == []
    assert keepers() == []


def test_the_key_goes_before_the_session_for_the_next_holder_not_to_wait(consul: FakeConsul) -> None:
    with lease.hold(consul, "obs", "deploy"):
        pass
    assert [name for name, _ in consul.calls if name in ("delete", "destroy_session")] == ["delete", "destroy_session"]


def test_a_second_one_is_refused_and_told_who_is_at_work(consul: FakeConsul) -> None:
    with lease.hold(consul, "obs", "drill stop web"):
        with pytest.raises(
            lease.Locked, match=rf"stack obs is locked: drill stop web by .*pid {os.getpid()}"
        ) as caught:
            lease.hold(consul, "obs", "deploy").__enter__()
        assert lease.holder(consul, "obs").command == "drill stop web"  # type: ignore[union-attr]
    assert caught.value.exit_code == 21
    assert consul.entries("") == []


def test_another_stack_has_its_own_lock(consul: FakeConsul) -> None:
    with lease.hold(consul, "obs", "deploy"), lease.hold(consul, "other", "deploy"):
        assert lease.holder(consul, "other") is not None


def test_when_the_last_holder_died_it_says_so(consul: FakeConsul) -> None:
    consul.acquire = lambda key, value, session: False  # type: ignore[method-assign]  # the lock delay of a real Consul
    with pytest.raises(lease.Locked, match="the lock obsctl/obs/lock in Consul has no holder") as caught:
        lease.hold(consul, "obs", "deploy", clock=FakeClock()).__enter__()
    assert "the last holder died" in caught.value.hint


def test_the_lock_of_a_holder_that_died_is_waited_for(consul: FakeConsul) -> None:
    answers = [False, False]
    acquire = consul.acquire
    consul.acquire = lambda key, value, session: acquire(key, value, session) if not answers else answers.pop()  # type: ignore[method-assign]
    with lease.hold(consul, "obs", "deploy", clock=FakeClock()):
        assert lease.holder(consul, "obs") is not None


@pytest.mark.parametrize("value", [b"not json", b'{"pid": 1}', b"[]", b"[" * 100_000])
def test_a_holder_that_writes_something_else_is_still_a_holder(consul: FakeConsul, value: bytes) -> None:
    consul.acquire(lock_key("obs"), value, consul.create_session("x", ttl=10))
    assert "an unknown command" in str(lease.holder(consul, "obs"))


def test_a_lock_key_that_nobody_holds_has_no_holder(consul: FakeConsul) -> None:
    consul.put(lock_key("obs"), json.dumps({"command": "x"}).encode())
    assert lease.holder(consul, "obs") is None


@pytest.mark.usefixtures("quick")
class TestKeeping:
    def test_it_is_renewed_while_it_is_held(self, consul: FakeConsul) -> None:
        renewed = threading.Event()
        consul.renew_session = lambda session: renewed.set()  # type: ignore[method-assign]
        with lease.hold(consul, "obs", "deploy") as held:
            assert renewed.wait(timeout=10)
            held.check()

    def test_it_is_lost_when_consul_ended_the_session(self, consul: FakeConsul) -> None:
        with lease.hold(consul, "obs", "deploy") as held:
            consul.expire(held.session)
            assert held.lost.wait(timeout=10)
            with pytest.raises(ObsctlError, match="the lock of the stack was lost"):
                held.check()

    def test_when_it_was_lost_the_lock_of_the_next_holder_stays(self, consul: FakeConsul) -> None:
        with lease.hold(consul, "obs", "deploy") as held:
            consul.expire(held.session)
            assert held.lost.wait(timeout=10)
            consul.acquire(lock_key("obs"), b"{}", consul.create_session("next", ttl=10))
        assert lease.holder(consul, "obs") is not None

    def test_it_survives_an_outage_that_is_shorter_than_its_life(self, consul: FakeConsul) -> None:
        clock = FakeClock()
        over = outage(consul, clock, seconds=lease.TTL - 1)
        with lease.hold(consul, "obs", "deploy", clock=clock) as held:
            assert over.wait(timeout=10)
            held.check()

    def test_it_is_lost_in_an_outage_that_is_longer(self, consul: FakeConsul) -> None:
        clock = FakeClock()
        over = outage(consul, clock, seconds=lease.TTL + 5)
        with lease.hold(consul, "obs", "deploy", clock=clock) as held:
            assert held.lost.wait(timeout=10)
        assert not over.is_set()

    def test_an_answer_that_was_asked_for_long_ago_says_nothing_of_now(self, consul: FakeConsul) -> None:
        """The process slept while it was on its way."""
        clock = FakeClock()
        answers = iter([lambda: clock.sleep(lease.TTL + 5)])

        def renew(session: str) -> None:
            for answer in answers:
                return answer()
            raise UNREACHABLE

        consul.renew_session = renew  # type: ignore[method-assign]
        with lease.hold(consul, "obs", "deploy", clock=clock) as held:
            assert held.lost.wait(timeout=10)

    def test_a_consul_that_is_gone_at_the_end_hides_no_result(self, consul: FakeConsul) -> None:
        with lease.hold(consul, "obs", "deploy"):
            consul.failures["*"] = UNREACHABLE
        assert keepers() == []


def test_when_consul_cannot_be_asked_nothing_is_held(consul: FakeConsul) -> None:
    consul.failures["create_session"] = UNREACHABLE
    with pytest.raises(ApiError):
        lease.hold(consul, "obs", "deploy").__enter__()


def test_a_holder_cannot_add_lines_to_what_is_said() -> None:
    holder = lease.Holder(command="deploy\nDeployed", user="u", host="h", pid=1, since="now")
    assert len(str(holder).splitlines()) == 1
