"""Loki over its HTTP API."""

from __future__ import annotations

from obsctl.clients.http import Session
from obsctl.clients.protocols import Json
from obsctl.clients.server import Server
from obsctl.errors import Rejected


class LokiClient:
    """LokiApi over HTTP."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self._session = Session(server)

    def ready(self) -> bool:
        return self._session.answers("/ready")

    def lines(self, logql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        direction = "backward" if newest else "forward"
        params: dict[str, str | int] = {
            "query": logql, "start": start, "end": end, "limit": limit, "direction": direction,
        }  # fmt: skip
        found = self._session.request("GET", "/loki/api/v1/query_range", params=params).json()["data"]
        if found["resultType"] != "streams":
            raise Rejected(
                f"Loki at {self.address} answers {logql!r} with numbers, not with lines",
                hint="leave out rate(), count_over_time() and the like",
            )
        return list(found["result"])
