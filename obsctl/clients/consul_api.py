"""Consul, by py-consul where that works well, else by our session."""

from __future__ import annotations

from base64 import b64decode
from typing import Any
from urllib.parse import quote

import consul

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.form import object_of, objects_of, text_of
from obsctl.clients.http import Client
from obsctl.clients.instances import passes, url
from obsctl.clients.paths import checked, checked_prefix
from obsctl.clients.protocols import KvPair
from obsctl.errors import Conflict, NotFound, Rejected, ServerFailed
from obsctl.model import Json


class ConsulClient(Client):
    """ConsulApi over HTTP. The session adds token and datacenter to every call; py-consul quotes every path."""

    misread = (*Client.misread, consul.ConsulException)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        # Host and port keep py-consul from reading CONSUL_HTTP_ADDR; what counts is base_uri and our session.
        self._consul = consul.Consul(host="127.0.0.1", port=8500)
        self._consul.http.base_uri = endpoint.address.rstrip("/")
        self._consul.http.session = self.session

    def leader(self) -> str:
        return text_of(self._consul.status.leader())

    def agent_version(self) -> str:
        return str(self._consul.agent.self()["Config"]["Version"])

    def server_time(self) -> float:
        return self.session.server_time("/v1/status/leader")

    def metrics(self) -> str:
        answer = self.session.request("GET", "/v1/agent/metrics", params={"format": "prometheus"}, text=True)
        if not answer.text:  # Consul 1.21 sends 200 and means 415
            reason = answer.headers.get("X-Consul-Reason", "it keeps none")
            raise Rejected(
                f"{self.endpoint} gives no metrics: {reason}",
                hint="set telemetry.prometheus_retention_time in its agent",
            )
        return answer.text

    def get(self, key: str) -> KvPair | None:
        try:
            return _pair(self._consul.kv.get(checked(key))[1])
        except NotFound:
            return None

    def entries(self, prefix: str) -> list[KvPair]:
        try:
            return _pairs(self._consul.kv.get(checked_prefix(prefix), recurse=True)[1])
        except NotFound:
            return []

    def watch(self, prefix: str, *, index: int, wait: float) -> tuple[int, list[KvPair]]:
        # py-consul hides the index of an empty answer (404), which a watch needs to go on from.
        path = f"/v1/kv/{quote(checked_prefix(prefix))}"
        next_index, answer = self.session.watch(path, "X-Consul-Index", index, wait, accept={404}, recurse="")
        entries = answer.json() if answer.ok else []
        return next_index, _pairs(
            [{**entry, "Value": b64decode(entry["Value"] or "")} for entry in objects_of(entries)]
        )

    def put(self, key: str, value: bytes, *, cas: int | None = None) -> None:
        if not self._consul.kv.put(checked(key), value, cas=cas):
            raise self._lost(key)

    def delete(self, key: str, *, cas: int | None = None) -> None:
        # By a transaction, in whose body each key can stand. Somebody made it by one, if no path can hold it.
        check = {"Verb": "delete"} if cas is None else {"Verb": "delete-cas", "Index": cas}
        try:
            self.session.request("PUT", "/v1/txn", json=[{"KV": {**check, "Key": key}}])
        except Conflict:
            raise self._lost(key) from None

    def create_session(self, name: str, *, ttl: int, lock_delay: int = 1) -> str:
        return str(self._consul.session.create(name, checks=[], ttl=ttl, lock_delay=lock_delay, behavior="delete"))

    def renew_session(self, session: str) -> None:
        self._consul.session.renew(checked(session))

    def destroy_session(self, session: str) -> None:
        self._consul.session.destroy(checked(session))

    def session_exists(self, session: str) -> bool:
        return self._consul.session.info(checked(session))[1] is not None

    def acquire(self, key: str, value: bytes, session: str) -> bool:
        try:
            return bool(self._consul.kv.put(checked(key), value, acquire=session))
        except ServerFailed as error:
            if "invalid session" in error.message:
                raise NotFound(error.message, hint="the session has expired: begin again") from error
            raise

    def services(self) -> dict[str, list[str]]:
        return object_of(self._consul.catalog.services()[1])

    def health(self, service: str) -> list[Json]:
        return _instances(self._consul.health.service(checked(service))[1])

    def _lost(self, key: str) -> Conflict:
        what = f"{self.endpoint}: somebody else changed {key!r} meanwhile"
        return Conflict(what, hint="run the command again: it looks at the new value first")


def _instances(entries: Any) -> list[Json]:
    """The entries, if each has what an instance needs to be found and judged. Raises KeyError and the like."""
    return [entry for entry in objects_of(entries) if (url(entry), passes(entry), entry["Service"]["ID"])]


def _pairs(entries: Any) -> list[KvPair]:
    return [_pair(entry) for entry in objects_of(entries)]


def _pair(entry: Json) -> KvPair:
    indexes = {"modify_index": entry["ModifyIndex"], "create_index": entry["CreateIndex"]}
    return KvPair(entry["Key"], entry["Value"] or b"", session=entry.get("Session"), **indexes)
