"""Grafana, by what it tells without a login."""

from __future__ import annotations

import re

from obsctl.clients.http import Client

_PLUGIN = "grafana_plugin_build_info{"
_LABEL = re.compile(r'[{,](plugin_id|version)="([^"]*)"')


class GrafanaClient(Client):
    """GrafanaApi over HTTP."""

    def plugins(self) -> dict[str, str]:
        text = self.session.request("GET", "/metrics", text=True).text
        found = (dict(_LABEL.findall(line)) for line in text.splitlines() if line.startswith(_PLUGIN))
        return {labels["plugin_id"]: labels.get("version", "") for labels in found if labels.get("plugin_id")}
