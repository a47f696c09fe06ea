"""Loki over its HTTP API."""

from __future__ import annotations

from typing import Any

from obsctl.clients.http import Session
from obsctl.clients.protocols import Json
from obsctl.clients.server import Server
from obsctl.errors import Rejected

_SECOND = 1_000_000_000


class LokiClient:
    """LokiApi over HTTP."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self._session = Session(server)

    def ready(self) -> bool:
        return self._session.answers("/ready")

    def labels(self, *, since: float, until: float) -> list[str]:
        answer = self._get("labels", start=int(since * _SECOND), end=int(until * _SECOND))
        return sorted(answer.get("data") or [])

    def lines(self, logql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        direction = "backward" if newest else "forward"
        answer = self._get("query_range", query=logql, start=start, end=end, limit=limit, direction=direction)
        found = answer["data"]
        if found["resultType"] != "streams":
            raise Rejected(
                f"Loki at {self.address} answers {logql!r} with numbers, not with lines",
                hint="leave out rate(), count_over_time() and the like",
            )
        return list(found["result"])

    def _get(self, path: str, **params: str | int) -> Any:
        return self._session.request("GET", f"/loki/api/v1/{path}", params=params).json()
