"""alert-sink, the receiver that obsctl ships."""

from __future__ import annotations

from collections.abc import Sequence

from obsctl.clients.http import Session
from obsctl.clients.server import Server
from obsctl.model import Json


class SinkClient:
    """SinkApi over HTTP."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self._session = Session(server)

    def ready(self) -> bool:
        return self._session.answers("/health")

    def server_time(self) -> float:
        return self._session.server_time("/health")

    def notifications(self, *, since: float, alertname: str | None = None) -> Sequence[Json]:
        params = {"since": since, "alertname": alertname}
        answer = self._session.request("GET", "/api/notifications", params=params).json()
        return sorted(answer["notifications"], key=lambda notification: float(notification["received_at"]))
