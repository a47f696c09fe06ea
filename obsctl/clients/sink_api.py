"""alert-sink, the receiver that obsctl ships."""

from __future__ import annotations

from collections.abc import Sequence

from obsctl.clients.http import Client
from obsctl.model import Json


class SinkClient(Client):
    """SinkApi over HTTP."""

    def server_time(self) -> float:
        return self.session.server_time("/health")

    def notifications(self, *, since: float, alertname: str | None = None) -> Sequence[Json]:
        params = {"since": since, "alertname": alertname}
        answer = self.session.request("GET", "/api/notifications", params=params).json()
        return sorted(answer["notifications"], key=lambda notification: float(notification["received_at"]))
