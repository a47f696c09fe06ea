"""VictoriaLogs over its HTTP API."""

from __future__ import annotations

import json

from obsctl.clients.http import Session
from obsctl.clients.protocols import Json
from obsctl.clients.server import Server


class LogsClient:
    """LogsApi over HTTP."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self._session = Session(server)

    def ready(self) -> bool:
        return self._session.answers("/health")

    def lines(self, logsql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        form: dict[str, str | int] = {
            "query": logsql if newest else f"{logsql} | sort by (_time)",
            "start": start, "end": end, "limit": limit,
        }  # fmt: skip
        answer = self._session.request("POST", "/select/logsql/query", data=form, text=True)
        return [json.loads(line) for line in answer.content.split(b"\n") if line]
