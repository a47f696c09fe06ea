"""Grafana, by what it tells without a login."""

from __future__ import annotations

import re

from obsctl.clients.http import Session
from obsctl.clients.server import Server

_PLUGIN = re.compile(
    r'^grafana_plugin_build_info\{(?:[^}]*,)?plugin_id="(?P<id>[^"]+)".*\bversion="(?P<version>[^"]*)"'
)


class GrafanaClient:
    """GrafanaApi over HTTP."""

    def __init__(self, server: Server) -> None:
        self._session = Session(server)

    def plugins(self) -> dict[str, str]:
        text = self._session.request("GET", "/metrics", text=True).text
        found = (_PLUGIN.match(line) for line in text.splitlines())
        return {match["id"]: match["version"] for match in found if match}
