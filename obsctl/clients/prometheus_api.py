"""Prometheus over its HTTP API."""

from __future__ import annotations

from typing import Any

from obsctl.clients.http import Session
from obsctl.clients.server import Server
from obsctl.errors import Rejected
from obsctl.model import Json


class PrometheusClient:
    """PrometheusApi over HTTP."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self._session = Session(server)

    def ready(self) -> bool:
        return self._session.answers("/-/ready")

    def server_time(self) -> float:
        return self._session.server_time("/-/healthy")

    def version(self) -> str:
        return str(self._get("status/buildinfo")["version"])

    def query(self, promql: str) -> list[Json]:
        found = self._get("query", query=promql)
        if found["resultType"] != "vector":
            raise Rejected(
                f"Prometheus at {self.address} answers {promql!r} with a {found['resultType']}, not a vector",
                hint="wrap a scalar in vector(), and a range in a function such as rate()",
            )
        return list(found["result"])

    def targets(self) -> list[Json]:
        return list(self._get("targets", state="active")["activeTargets"])

    def rule_groups(self) -> list[Json]:
        return list(self._get("rules")["groups"])

    def alerts(self) -> list[Json]:
        return list(self._get("alerts")["alerts"])

    def alertmanagers(self) -> list[str]:
        return [str(entry["url"]) for entry in self._get("alertmanagers")["activeAlertmanagers"]]

    def config_yaml(self) -> str:
        return str(self._get("status/config")["yaml"])

    def _get(self, path: str, **params: str) -> Json:
        """The `data` of an answer; an error of the API comes as a 4xx or 5xx and is raised by the session."""
        answer: dict[str, Any] = self._session.request("GET", f"/api/v1/{path}", params=params).json()
        return dict(answer["data"])
