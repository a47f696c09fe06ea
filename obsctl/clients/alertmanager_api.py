"""Alertmanager over its HTTP API, version 2."""

from __future__ import annotations

from typing import Any

from obsctl.clients.http import Client
from obsctl.model import Json


class AlertmanagerClient(Client):
    """AlertmanagerApi over HTTP."""

    def server_time(self) -> float:
        return self.session.server_time("/-/healthy")

    def status(self) -> Json:
        return dict(self._get("status"))

    def gossip(self) -> list[Json]:
        return [self.status()["cluster"]]

    def alerts(self) -> list[Json]:
        return list(self._get("alerts"))

    def silences(self) -> list[Json]:
        # The API also lists silences that have expired or not begun; only newer versions can filter.
        return [silence for silence in self._get("silences") if silence["status"]["state"] == "active"]

    def _get(self, path: str) -> Any:
        return self.session.request("GET", f"/api/v2/{path}").json()
