"""VictoriaLogs over its HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from obsctl.clients.http import Client
from obsctl.errors import ServerFailed
from obsctl.model import Json


class LogsClient(Client):
    """LogsApi over HTTP."""

    def lines(self, logsql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        query = logsql if newest else f"{logsql} | sort by (_time)"
        return self._query("_time", query=query, start=start, end=end, limit=limit)

    def counts(self, logsql: str, *, start: int, end: int, step: int) -> dict[int, int]:
        query = f"{logsql} | stats by (_time:{step}s) count() lines"
        found = self._query("_time", "lines", query=query, start=start, end=end)
        try:
            return {int(datetime.fromisoformat(entry["_time"]).timestamp()): int(entry["lines"]) for entry in found}
        except (ValueError, OverflowError):
            raise self._odd("times and numbers") from None

    def _query(self, *needed: str, **form: str | int) -> list[Json]:
        """Each line an object of texts that has the fields `needed`."""
        answer = self.session.request("POST", "/select/logsql/query", data=form, text=True)
        try:
            # By its bytes: what others call a line break may stand in a line, and what is no UTF-8, too.
            found = [json.loads(line.decode(errors="replace")) for line in answer.content.split(b"\n") if line]
        except (ValueError, RecursionError):
            raise self._odd("lines of JSON") from None
        if not all(_is_of_texts(entry, needed) for entry in found):
            raise self._odd(f"fields of text with {' and '.join(needed)}")
        return found

    def _odd(self, expected: str) -> ServerFailed:
        return ServerFailed(f"{self.endpoint} answered something that is not {expected}", hint=self.endpoint.down)


def _is_of_texts(entry: object, needed: Iterable[str]) -> bool:
    """Whether it is what it should be, whoever answers at that address."""
    if not isinstance(entry, dict):
        return False
    return all(isinstance(value, str) for value in entry.values()) and all(name in entry for name in needed)
