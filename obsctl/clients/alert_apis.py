"""The programs of the alert path over HTTP: Prometheus, Alertmanager, alert-sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
                f"{self.endpoint} answers {promql!r} with a {answer['resultType']}, not a vector",
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

    def format_query(self, promql: str) -> str:
        return str(self._data("format_query", query=promql))

    def _get(self, path: str, **params: str) -> Json:
        return dict(self._data(path, **params))

    def _data(self, path: str, **params: str) -> Any:
        """The `data` of an answer. An error of the API has status 4xx or 5xx, so the session raises it."""
        return self.session.request("GET", f"/api/v1/{path}", params=params).json()["data"]


class AlertmanagerClient(Client):
    """AlertmanagerApi over HTTP, version 2."""

    def server_time(self) -> float:
        return self.session.server_time("/-/healthy")

    def status(self) -> Json:
        return dict(self._get("status"))

    def alerts(self) -> list[Json]:
        return list(self._get("alerts"))

    def silences(self) -> list[Json]:
        # The API also lists silences that have expired or not begun; only newer versions can filter.
        return [silence for silence in self._get("silences") if silence["status"]["state"] == "active"]

    def _get(self, path: str) -> Any:
        return self.session.request("GET", f"/api/v2/{path}").json()


class SinkClient(Client):
    """SinkApi over HTTP."""

    def server_time(self) -> float:
        return self.session.server_time("/health")

    def notifications(self, *, since: float, alertname: str | None = None) -> Sequence[Json]:
        params = {"since": since, "alertname": alertname}
        answer = self.session.request("GET", "/api/notifications", params=params).json()
        return sorted(answer["notifications"], key=lambda notification: float(notification["received_at"]))
