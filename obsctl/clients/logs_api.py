"""VictoriaLogs over its HTTP API."""

from __future__ import annotations

import json
from datetime import datetime

from obsctl.clients.http import Session
from obsctl.clients.protocols import Json
from obsctl.clients.server import Server
from obsctl.errors import ServerFailed


class LogsClient:
    """LogsApi over HTTP."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self._server = server
        self._session = Session(server)

    def ready(self) -> bool:
        return self._session.answers("/health")

    def lines(self, logsql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        query = logsql if newest else f"{logsql} | sort by (_time)"
        return self._query(query=query, start=start, end=end, limit=limit)

    def counts(self, logsql: str, *, start: int, end: int, step: int) -> dict[int, int]:
        found = self._query(query=f"{logsql} | stats by (_time:{step}s) count() lines", start=start, end=end)
        return {int(datetime.fromisoformat(entry["_time"]).timestamp()): int(entry["lines"]) for entry in found}

    def _query(self, **form: str | int) -> list[Json]:
        answer = self._session.request("POST", "/select/logsql/query", data=form, text=True)
        try:
            # By its bytes: what others call a line break may stand in a line, and what is no UTF-8, too.
            return [json.loads(line.decode(errors="replace")) for line in answer.content.split(b"\n") if line]
        except ValueError:
            what = f"{self._server} answered something that is not lines of JSON"
            raise ServerFailed(what, hint=self._server.down) from None
