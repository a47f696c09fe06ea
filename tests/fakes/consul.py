"""Consul in memory: KV with modify indices and check-and-set, sessions with locks, a catalog."""

from __future__ import annotations

import itertools

from obsctl.clients.paths import checked
from obsctl.clients.protocols import ConsulApi, KvPair
from obsctl.errors import Conflict, NotFound
from obsctl.model import Json
from obsctl.wait import Clock
from tests.fakes.breakable import Breakable
from tests.fakes.clock import FakeClock


class FakeConsul(Breakable, api=ConsulApi, in_paths=("session", "service")):
    """ConsulApi. A watch never blocks; sessions end by `destroy_session` or `expire`; there is no lock delay."""

    address = "http://consul.fake:8500"

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__()
        self._clock = clock or FakeClock()
        self._index = itertools.count(2)
        self._changed = 1
        self._pairs: dict[str, KvPair] = {}
        self._sessions: set[str] = set()
        self._services: dict[str, Json] = {}

    def leader(self) -> str:
        return "127.0.0.1:8300"

    def agent_version(self) -> str:
        return "1.21.0"

    def server_time(self) -> float:
        return float(int(self._clock.now()))

    def metrics(self) -> str:
        return "consul_raft_apply 1\n"

    def get(self, key: str) -> KvPair | None:
        return self._pairs.get(checked(key))

    def entries(self, prefix: str) -> list[KvPair]:
        return [pair for key, pair in sorted(self._pairs.items()) if key.startswith(prefix)]

    def watch(self, prefix: str, *, index: int, wait: float) -> tuple[int, list[KvPair]]:
        return self._changed, [pair for key, pair in sorted(self._pairs.items()) if key.startswith(prefix)]

    def put(self, key: str, value: bytes, *, cas: int | None = None) -> None:
        if cas is not None and cas != self._index_of(key):
            raise self._lost(key)
        held = self._pairs.get(checked(key))
        self._write(key, value, held.session if held else None)

    def delete(self, key: str, *, cas: int | None = None) -> None:
        if key in self._pairs and cas not in (None, self._index_of(key)):
            raise self._lost(key)
        self._remove([key])

    def delete_tree(self, prefix: str) -> None:
        self._remove([key for key in self._pairs if key.startswith(prefix)])

    def create_session(self, name: str, *, ttl: int, lock_delay: int = 1) -> str:
        session = f"00000000-0000-0000-0000-{next(self._index):012d}"
        self._sessions.add(session)
        return session

    def renew_session(self, session: str) -> None:
        self._require(session)

    def destroy_session(self, session: str) -> None:
        self._end(session)

    def session_exists(self, session: str) -> bool:
        return session in self._sessions

    def acquire(self, key: str, value: bytes, session: str) -> bool:
        held = self._pairs.get(checked(key))
        self._require(session)
        if held and held.session not in (None, session):
            return False
        self._write(key, value, session)
        return True

    def services(self) -> dict[str, list[str]]:
        found: dict[str, set[str]] = {"consul": set()}
        for entry in self._services.values():
            found.setdefault(entry["Service"]["Service"], set()).update(entry["Service"]["Tags"])
        return {name: sorted(tags) for name, tags in found.items()}

    def health(self, service: str) -> list[Json]:
        return [entry for entry in tuple(self._services.values()) if entry["Service"]["Service"] == service]

    # What the world does

    def expire(self, session: str) -> None:
        """The session's holder did not renew it in time: its locks are deleted with it."""
        self._end(session)

    def forge(self, key: str, value: bytes) -> None:
        """Somebody writes an entry, under whatever key: transactions take one that no path can hold."""
        self._write(key, value, None)

    def register(
        self,
        name: str,
        *,
        instance: str | None = None,
        port: int = 80,
        tags: tuple[str, ...] = (),
        meta: dict[str, str] | None = None,
        status: str = "passing",
        kind: str = "",
        node: str = "node-1",
    ) -> None:
        """An instance of a service appears, or changes its health."""
        self._services[instance or name] = {
            "Node": {"Node": node, "Address": "127.0.0.1"},
            "Service": {
                "ID": instance or name,
                "Kind": kind,
                "Service": name,
                "Address": "127.0.0.1",
                "Port": port,
                "Tags": list(tags),
                "Meta": meta or {},
            },
            "Checks": [
                {"CheckID": "serfHealth", "ServiceID": "", "Status": "passing"},
                {"CheckID": f"{instance or name}-check", "ServiceID": instance or name, "Status": status},
            ],
        }

    def report(self, instance: str, status: str) -> None:
        """Its check has another status now."""
        self._services[instance]["Checks"][1]["Status"] = status

    def offers(self, name: str) -> bool:
        """Whether an instance of this service is registered, however healthy."""
        return any(entry["Service"]["Service"] == name for entry in self._services.values())

    def answers(self, name: str) -> bool:
        """Whether an instance of this service passes its checks."""
        mine = (entry for entry in self._services.values() if entry["Service"]["Service"] == name)
        return any(all(check["Status"] == "passing" for check in entry["Checks"]) for entry in mine)

    def deregister(self, instance: str) -> None:
        self._services.pop(instance, None)

    def _index_of(self, key: str) -> int:
        return self._pairs[key].modify_index if key in self._pairs else 0

    def _write(self, key: str, value: bytes, session: str | None) -> None:
        self._changed = next(self._index)
        created = self._pairs[key].create_index if key in self._pairs else self._changed
        self._pairs[key] = KvPair(key, value, self._changed, session, created)

    def _remove(self, keys: list[str]) -> None:
        for key in keys:
            if self._pairs.pop(key, None):
                self._changed = next(self._index)

    def _end(self, session: str) -> None:
        self._sessions.discard(session)
        self._remove([key for key, pair in self._pairs.items() if pair.session == session])

    def _require(self, session: str) -> None:
        if session not in self._sessions:
            raise NotFound(f"Consul at {self.address}: session {session!r} not found", hint="begin again")

    def _lost(self, key: str) -> Conflict:
        return Conflict(f"Consul at {self.address}: somebody else changed {key!r}", hint="look again")
