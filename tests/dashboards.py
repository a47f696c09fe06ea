"""A dashboard without a fault, for tests that spoil it, and what the linter says of one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from obsctl.content.dashboard_lint import lint
from obsctl.content.dashboards import Dashboard
from obsctl.model import Json, Severity

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GOOD: Json = {
    "uid": "shop",
    "title": "Shop",
    "tags": ["shop"],
    "schemaVersion": 41,
    "editable": False,
    "refresh": "30s",
    "templating": {
        "list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus"},
            {"name": "logs", "type": "datasource", "query": "victoriametrics-logs-datasource"},
            {"name": "till", "type": "query", "datasource": SOURCE},
        ]
    },
    "annotations": {"list": [{"name": "Built in", "builtIn": 1, "datasource": {"uid": "-- Grafana --"}}]},
    "panels": [
        {
            "id": 1,
            "type": "timeseries",
            "title": "Sales",
            "description": "What is sold.",
            "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8},
            "datasource": SOURCE,
            "fieldConfig": {"defaults": {"unit": "short"}},
            "links": [{"url": "/d/other?var-till=$till"}],
            "targets": [
                {
                    "refId": "A",
                    "expr": 'sum(rate(sales_total{job="shop", till=~"$till"}[$__rate_interval]))',
                    "legendFormat": "x",
                }
            ],
        },
        {
            "id": 2,
            "type": "row",
            "title": "More",
            "gridPos": {"x": 0, "y": 8, "w": 24, "h": 1},
            "panels": [
                {
                    "id": 3,
                    "type": "logs",
                    "title": "Lines",
                    "description": "What is said.",
                    "gridPos": {"x": 0, "y": 9, "w": 24, "h": 8},
                    "datasource": {"type": "victoriametrics-logs-datasource", "uid": "${logs}"},
                    "targets": [{"refId": "A", "expr": 'service.name:="shop" "[x _time:"', "queryType": "instant"}],
                }
            ],
        },
    ],
}


OVER = {"x": 6, "y": 4, "w": 12, "h": 8}


def findings(document: Json, uid: str = "shop") -> dict[str, Severity]:
    """What the linter says of it, each with how much it matters."""
    other = {**GOOD, "uid": "other", "title": "Other"}
    others = Dashboard(uid="other", folder="", text=json.dumps(other), path=Path("other.json"))
    found = lint([Dashboard(uid=uid, folder="", text=json.dumps(document), path=Path(f"{uid}.json")), others])
    assert all(finding.where.startswith(f"{uid}.json") and finding.hint for finding in found)
    assert not any(finding.where.endswith(": ") for finding in found)
    return {f"{finding.where}: {finding.what}".removeprefix(f"{uid}.json: "): finding.severity for finding in found}


def changed(change: Callable[[Json], Any]) -> Json:
    document = copy.deepcopy(GOOD)
    change(document)
    return document


def panel(**keys: Any) -> Json:
    return changed(lambda document: document["panels"][0].update(keys))


def query(expr: str, **keys: Any) -> Json:
    return changed(lambda document: document["panels"][0]["targets"][0].update({"expr": expr, **keys}))


def logs(expr: str, kind: str | None = "instant") -> Json:
    asked = {"refId": "A", "expr": expr, "queryType": kind}
    return changed(lambda document: document["panels"][1]["panels"][0].update(targets=[asked]))
