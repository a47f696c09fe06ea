"""Does one thing lead to the next?"""

from __future__ import annotations

from collections.abc import Iterator

from obsctl.doctor.site import Site
from obsctl.model import Finding, Severity


def dashboards(site: Site) -> Iterator[Finding]:
    """Where people open Grafana is nothing that the cluster could tell: often a proxy."""
    parts = site.config.components
    if parts.prometheus.enabled and parts.grafana.enabled and parts.grafana.root_url is None:
        what = "alerts lead to no dashboard, for it is not known where people open Grafana"
        yield Finding(Severity.WARNING, "dashboards", what, "set components.grafana.root_url in obsctl.yaml")
