"""The programs of the alert path over HTTP: Prometheus, Alertmanager, alert-sink."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from obsctl.clients.form import objects_of, text_of
from obsctl.clients.http import Answer, Client
from obsctl.clients.paths import checked
from obsctl.clients.tally import Tallies, Tally
from obsctl.errors import Rejected
from obsctl.model import Json

_COUNT = re.compile(r"^alertmanager_(notification(?:s|_requests)(?:_failed)?_total)\{([^}]*)\} (\S+)$", re.MULTILINE)
_FIELDS = {
    "notifications_total": "notifications",
    "notifications_failed_total": "notifications_failed",
    "notification_requests_total": "requests",
    "notification_requests_failed_total": "requests_failed",
}
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class PrometheusClient(Client):
    """PrometheusApi over HTTP."""

    def server_time(self) -> float:
        return self.session.server_time("/-/healthy")

    def query(self, promql: str) -> list[Json]:
        def vector(data: Any) -> list[Json]:
            if data["resultType"] != "vector":
                raise Rejected(
                    f"{self.endpoint} answers {promql!r} with a {data['resultType']}, not a vector",
                    hint="wrap a scalar in vector(), and a range in a function such as rate()",
                )
            return objects_of(data["result"])

        return self._data(vector, "query", query=promql)

    def count(self, promql: str) -> int:
        def length(data: Any) -> int:
            is_series = data["resultType"] in ("vector", "matrix")
            return len(objects_of(data["result"])) if is_series else 1

        return self._data(length, "query", query=promql)

    def targets(self) -> list[Json]:
        return self._data(lambda data: objects_of(data["activeTargets"]), "targets", state="active")

    def rule_groups(self) -> list[Json]:
        return self._data(lambda data: objects_of(data["groups"]), "rules")

    def alerts(self) -> list[Json]:
        return self._data(lambda data: objects_of(data["alerts"]), "alerts")

    def alertmanagers(self) -> list[str]:
        return self._data(lambda data: [str(each["url"]) for each in data["activeAlertmanagers"]], "alertmanagers")

    def config_yaml(self) -> str:
        return self._data(lambda data: str(data["yaml"]), "status/config")

    def format_query(self, promql: str) -> str:
        return self._data(str, "format_query", query=promql)

    def _data(self, form: Callable[[Any], Answer], path: str, **params: str) -> Answer:
        """The `data` of an answer. An error of the API has status 4xx or 5xx, so the session raises it."""
        return self.read(lambda answer: form(answer["data"]), f"/api/v1/{path}", **params)


class AlertmanagerClient(Client):
    """AlertmanagerApi over HTTP, version 2."""

    def server_time(self) -> float:
        return self.session.server_time("/-/healthy")

    def status(self) -> Json:
        return self.read(dict, "/api/v2/status")

    def alerts(self) -> list[Json]:
        return self.read(objects_of, "/api/v2/alerts")

    def silences(self) -> list[Json]:
        # The API also lists silences that have expired or not begun; only newer versions can filter.
        return self.read(
            lambda answer: [silence for silence in objects_of(answer) if silence["status"]["state"] == "active"],
            "/api/v2/silences",
        )

    def silence(self, labels: Mapping[str, str], *, until: float, comment: str) -> str:
        matchers = [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()]
        times = {"startsAt": datetime.now(UTC).isoformat(), "endsAt": datetime.fromtimestamp(until, UTC).isoformat()}
        silence = {"matchers": matchers, **times, "createdBy": "obsctl", "comment": comment}
        return text_of(self.session.request("POST", "/api/v2/silences", json=silence).json()["silenceID"])

    def expire(self, silence_id: str) -> None:
        self.session.request("DELETE", f"/api/v2/silence/{checked(silence_id)}", text=True)

    def post(self, alerts: list[Json]) -> None:
        self.session.request("POST", "/api/v2/alerts", json=alerts, text=True)

    def tallies(self) -> Tallies:
        text = self.session.request("GET", "/metrics", text=True).text
        sums: dict[tuple[str, str], Tally] = {}
        for kind, labels, value in _COUNT.findall(text):
            names = dict(_LABEL.findall(labels))
            if "receiver_name" in names:
                place, count = (names["receiver_name"], names["integration"]), int(float(value))
                reasons = {names["reason"]: count} if count and "reason" in names else {}
                sums[place] = sums.get(place, Tally()) + Tally(**{_FIELDS[kind]: count}, reasons=reasons)
        return sums


class SinkClient(Client):
    """SinkApi over HTTP."""

    def server_time(self) -> float:
        return self.session.server_time("/health")

    def notifications(self, *, since: float, alertname: str | None = None) -> Sequence[Json]:
        return self.read(_by_time, "/api/notifications", since=since, alertname=alertname)


def _by_time(answer: Json) -> list[Json]:
    return sorted(objects_of(answer["notifications"]), key=lambda notification: float(notification["received_at"]))
