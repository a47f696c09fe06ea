"""Jaeger over its HTTP API, version 3: the one that stays when the older is removed in 2.21."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from obsctl.clients.http import Client
from obsctl.errors import NotFound
from obsctl.model import Json

BADGER_END = timedelta(microseconds=1)
"""A search is sent with its end so much later. Jaeger's Badger storage seeks backwards from the end's key followed by
one byte ff (scanIndexKeys in its reader.go, 1.62), which leaves out ids from ff on in the end's own microsecond."""


class JaegerClient(Client):
    """JaegerApi over HTTP.

    Parameters are written in snake_case, which 2.0 knows and later versions still accept. The number of traces was
    renamed meanwhile, so it is sent under both names; what a version does not know, it ignores.
    """

    def services(self) -> list[str]:
        return sorted(self.session.request("GET", "/api/v3/services").json().get("services") or [])

    def trace(self, trace_id: str) -> list[Json]:
        return self._spans(f"/api/v3/traces/{trace_id}", {})

    def search(
        self, service: str, *, since: float, until: float, min_duration: float = 0.0, limit: int = 20
    ) -> list[Json]:
        query = {
            "service_name": service,
            "start_time_min": _rfc3339(since),
            "start_time_max": _rfc3339(until, more=BADGER_END),
            "num_traces": str(limit),
            "search_depth": str(limit),
            **({"duration_min": f"{min_duration:.6f}s"} if min_duration else {}),
        }
        return self._spans("/api/v3/traces", {f"query.{name}": value for name, value in query.items()})

    def _spans(self, path: str, params: dict[str, str]) -> list[Json]:
        try:
            answer = self.session.request("GET", path, params=params).json()
        except NotFound:  # newer versions say so when a search finds nothing, too
            return []
        return list(answer["result"].get("resourceSpans") or [])


def _rfc3339(unix: float, *, more: timedelta = timedelta()) -> str:
    return (datetime.fromtimestamp(unix, UTC) + more).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
