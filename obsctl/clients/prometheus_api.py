"""Prometheus over its HTTP API."""

from __future__ import annotations

from obsctl.clients.http import Client
from obsctl.errors import Rejected
from obsctl.model import Json


class PrometheusClient(Client):
    """PrometheusApi over HTTP."""

    def server_time(self) -> float:
        return self.session.server_time("/-/healthy")

    def query(self, promql: str) -> list[Json]:
        answer = self._get("query", query=promql)
        if answer["resultType"] != "vector":
            raise Rejected(
                f"Prometheus at {self.address} answers {promql!r} with a {answer['resultType']}, not a vector",
                hint="wrap a scalar in vector(), and a range in a function such as rate()",
            )
        return list(answer["result"])

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
        return dict(self.session.request("GET", f"/api/v1/{path}", params=params).json()["data"])
