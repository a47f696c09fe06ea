"""What obsctl takes for granted of Consul, held against the real one and against the fake of the unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import requests

from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.protocols import ConsulApi
from obsctl.errors import Conflict, NotFound, Rejected
from obsctl.local.cluster import LocalCluster
from obsctl.wait import wait_until
from tests.fakes import FakeConsul
from tests.local_cluster import as_manager


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def consul(request: pytest.FixtureRequest) -> ConsulApi:
    if request.param == "fake":
        return FakeConsul()
    cluster = request.getfixturevalue("cluster")
    return cluster.consul


@pytest.fixture
def prefix(consul: ConsulApi) -> Iterator[str]:
    """A part of the key space that no other test uses."""
    prefix = f"contract/{uuid4()}/"
    yield prefix
    for pair in consul.entries(prefix):
        consul.delete(pair.key)


@pytest.fixture
def session(consul: ConsulApi) -> Iterator[str]:
    session = consul.create_session("contract", ttl=60, lock_delay=0)
    yield session
    consul.destroy_session(session)


def index_of(consul: ConsulApi, key: str) -> int:
    pair = consul.get(key)
    assert pair
    return pair.modify_index


def test_it_has_a_leader_and_a_version(consul: ConsulApi) -> None:
    assert ":" in consul.leader()
    assert consul.agent_version().count(".") == 2
    assert consul.server_time() > 1_600_000_000
    assert "consul_" in consul.metrics()


class TestKeys:
    def test_a_key_that_is_not_there(self, consul: ConsulApi, prefix: str) -> None:
        assert consul.get(f"{prefix}none") is None
        assert consul.entries(prefix) == []

    @pytest.mark.parametrize("value", [b"text", b"", b"\x00\xff\n", "Größe".encode()])
    def test_a_value_comes_back_as_it_was(self, consul: ConsulApi, prefix: str, value: bytes) -> None:
        consul.put(f"{prefix}a", value)
        pair = consul.get(f"{prefix}a")
        assert pair
        assert (pair.key, pair.value, pair.session) == (f"{prefix}a", value, None)

    def test_entries_are_those_below_the_prefix_sorted(self, consul: ConsulApi, prefix: str) -> None:
        for name in ("b", "a/2", "a/1", "c d?"):
            consul.put(f"{prefix}in/{name}", name.encode())
        consul.put(f"{prefix}out", b"")
        assert [pair.value for pair in consul.entries(f"{prefix}in/")] == [b"a/1", b"a/2", b"b", b"c d?"]

    def test_every_put_raises_the_index(self, consul: ConsulApi, prefix: str) -> None:
        consul.put(f"{prefix}a", b"1")
        first = index_of(consul, f"{prefix}a")
        consul.put(f"{prefix}a", b"2")
        assert index_of(consul, f"{prefix}a") > first

    def test_check_and_set(self, consul: ConsulApi, prefix: str) -> None:
        key = f"{prefix}a"
        with pytest.raises(Conflict, match=key):
            consul.put(key, b"early", cas=7)
        consul.put(key, b"new", cas=0)
        with pytest.raises(Conflict):
            consul.put(key, b"again", cas=0)
        index = index_of(consul, key)
        consul.put(key, b"next", cas=index)
        with pytest.raises(Conflict):
            consul.put(key, b"late", cas=index)
        pair = consul.get(key)
        assert pair
        assert pair.value == b"next"

    def test_delete(self, consul: ConsulApi, prefix: str) -> None:
        key = f"{prefix}a"
        consul.put(key, b"")
        with pytest.raises(Conflict):
            consul.delete(key, cas=index_of(consul, key) + 1000)
        consul.delete(key, cas=index_of(consul, key))
        assert consul.get(key) is None
        consul.delete(key)
        consul.delete(key, cas=5)


NO_PATH_HOLDS = ["..", "../../agent/leave", "a//b", "a b\nc", "\x01", "\u2028", "ends/"]


class TestKeysOfTransactions:
    """Others may make, by transactions, keys that no path can hold."""

    @pytest.mark.parametrize("name", NO_PATH_HOLDS)
    def test_each_is_listed_and_deleted_under_its_own_name(self, consul: ConsulApi, prefix: str, name: str) -> None:
        key = f"{prefix}{name}"
        forge(consul, key)
        consul.put(f"{prefix}stays", b"")
        [index] = [pair.modify_index for pair in consul.entries(prefix) if pair.key == key]
        with pytest.raises(Conflict, match="somebody else changed"):
            consul.delete(key, cas=index + 1000)
        consul.delete(key, cas=index)
        assert [pair.key for pair in consul.entries(prefix)] == [f"{prefix}stays"]
        forge(consul, key)
        consul.delete(key)
        consul.delete(key)
        assert [pair.key for pair in consul.entries(prefix)] == [f"{prefix}stays"]


def forge(consul: ConsulApi, key: str) -> None:
    """Somebody makes this key."""
    if isinstance(consul, FakeConsul):
        consul.forge(key, b"x")
        return
    assert isinstance(consul, ConsulClient)
    consul.session.put("/v1/txn", json=[{"KV": {"Verb": "set", "Key": key, "Value": "eA=="}}])


class TestWatch:
    def test_index_0_does_not_block(self, consul: ConsulApi, prefix: str) -> None:
        consul.put(f"{prefix}a", b"1")
        index, pairs = consul.watch(prefix, index=0, wait=20)
        assert index >= 1
        assert [pair.value for pair in pairs] == [b"1"]

    def test_nothing_below_the_prefix_is_an_answer(self, consul: ConsulApi, prefix: str) -> None:
        index, pairs = consul.watch(prefix, index=0, wait=20)
        assert index >= 1
        assert pairs == []

    def test_a_change_since_the_index_is_answered_at_once(self, consul: ConsulApi, prefix: str) -> None:
        consul.put(f"{prefix}a", b"1")
        index, _ = consul.watch(prefix, index=0, wait=20)
        consul.put(f"{prefix}a", b"2")
        later, pairs = consul.watch(prefix, index=index, wait=20)
        assert later > index
        assert [pair.value for pair in pairs] == [b"2"]

    def test_a_deletion_is_a_change(self, consul: ConsulApi, prefix: str) -> None:
        consul.put(f"{prefix}a", b"1")
        index, _ = consul.watch(prefix, index=0, wait=20)
        consul.delete(f"{prefix}a")
        later, pairs = consul.watch(prefix, index=index, wait=20)
        assert later > index
        assert pairs == []

    def test_without_a_change_the_answer_is_the_same(self, consul: ConsulApi, prefix: str) -> None:
        consul.put(f"{prefix}a", b"1")
        index, pairs = consul.watch(prefix, index=0, wait=20)
        assert consul.watch(prefix, index=index, wait=0.1) == (index, pairs)

    def test_an_index_of_the_future_starts_over(self, consul: ConsulApi, prefix: str) -> None:
        consul.put(f"{prefix}a", b"1")
        index, pairs = consul.watch(prefix, index=10**12, wait=0.1)
        assert index < 10**12
        assert [pair.value for pair in pairs] == [b"1"]


class TestSessions:
    def test_a_session_lives_until_it_is_destroyed(self, consul: ConsulApi) -> None:
        session = consul.create_session("contract", ttl=60)
        assert consul.session_exists(session)
        consul.renew_session(session)
        consul.destroy_session(session)
        assert not consul.session_exists(session)
        consul.destroy_session(session)
        with pytest.raises(NotFound):
            consul.renew_session(session)

    def test_one_holds_the_lock(self, consul: ConsulApi, prefix: str, session: str) -> None:
        other = consul.create_session("other", ttl=60, lock_delay=0)
        assert consul.acquire(f"{prefix}lock", b"mine", session)
        assert not consul.acquire(f"{prefix}lock", b"theirs", other)
        assert consul.acquire(f"{prefix}lock", b"still mine", session)
        pair = consul.get(f"{prefix}lock")
        assert pair
        assert (pair.value, pair.session) == (b"still mine", session)
        consul.destroy_session(other)

    def test_the_lock_goes_with_its_session(self, consul: ConsulApi, prefix: str, session: str) -> None:
        holder = consul.create_session("holder", ttl=60, lock_delay=0)
        consul.acquire(f"{prefix}lock", b"1", holder)
        consul.destroy_session(holder)
        assert consul.get(f"{prefix}lock") is None
        assert consul.acquire(f"{prefix}lock", b"2", session)

    def test_after_the_lock_delay_somebody_else_can_have_it(self, consul: ConsulApi, prefix: str, session: str) -> None:
        holder = consul.create_session("holder", ttl=60, lock_delay=1)
        consul.acquire(f"{prefix}lock", b"1", holder)
        consul.destroy_session(holder)
        wait_until(
            lambda: consul.acquire(f"{prefix}lock", b"2", session), timeout=5, failure="the delay did not end", hint="",
        )  # fmt: skip

    def test_a_session_that_is_gone_locks_nothing(self, consul: ConsulApi, prefix: str) -> None:
        gone = consul.create_session("gone", ttl=60)
        consul.destroy_session(gone)
        with pytest.raises(NotFound):
            consul.acquire(f"{prefix}lock", b"", gone)
        assert consul.get(f"{prefix}lock") is None

    def test_a_put_leaves_the_lock_where_it_is(self, consul: ConsulApi, prefix: str, session: str) -> None:
        consul.acquire(f"{prefix}lock", b"1", session)
        consul.put(f"{prefix}lock", b"2")
        pair = consul.get(f"{prefix}lock")
        assert pair
        assert (pair.value, pair.session) == (b"2", session)


def test_the_catalog(consul: ConsulApi) -> None:
    assert "consul" in consul.services()
    assert consul.health("nobody-has-this-name") == []


@pytest.mark.real
class TestRealOnly:
    @pytest.fixture
    def consul(self, request: pytest.FixtureRequest) -> ConsulApi:
        cluster = request.getfixturevalue("cluster")
        return cluster.consul

    def test_a_watch_wakes_up(self, consul: ConsulApi, prefix: str) -> None:
        index, _ = consul.watch(prefix, index=0, wait=20)
        with ThreadPoolExecutor() as pool:
            watching = pool.submit(consul.watch, prefix, index=index, wait=20)
            consul.put(f"{prefix}a", b"1")
            later, pairs = watching.result(timeout=10)
        assert later > index
        assert [pair.value for pair in pairs] == [b"1"]

    def test_a_value_that_is_too_large(self, consul: ConsulApi, prefix: str) -> None:
        with pytest.raises(Rejected, match=r"413: Request body.* too large"):
            consul.put(f"{prefix}a", bytes(600_000))

    def test_a_session_outlives_a_moment_in_which_its_agent_is_thought_lost(
        self, consul: ConsulApi, cluster: LocalCluster, session: str
    ) -> None:
        """As other members think of a server for a second or two when it is back from a restart, or busy."""

        url, headers = cluster.addresses.consul, as_manager(cluster)
        [node] = requests.get(f"{url}/v1/catalog/nodes", headers=headers, timeout=10).json()

        def call_it(status: str) -> None:
            check = {"Node": node["Node"], "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": status}
            entry = {"Node": node["Node"], "Address": node["Address"], "SkipNodeUpdate": True, "Check": check}
            requests.put(f"{url}/v1/catalog/register", json=entry, headers=headers, timeout=10).raise_for_status()

        call_it("critical")
        try:
            assert consul.session_exists(session)
        finally:
            call_it("passing")
