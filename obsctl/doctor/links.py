"""Does one thing lead to the next?"""

from __future__ import annotations

from collections.abc import Iterator

from obsctl.doctor.site import Site
from obsctl.model import Finding, Severity
from obsctl.stack import components


def certificates(site: Site) -> Iterator[Finding]:
    """Files of certificates stay with whoever runs obsctl; the stack's own programs have what their nodes have."""
    config = site.config
    specs = components.enabled(config)
    asks = {"nomad": [spec.name for spec in specs if spec.asks_nomad]}
    asks["consul"] = [spec.name for spec in specs if spec.reads_consul]
    for server, settings in (("nomad", config.nomad), ("consul", config.consul)):
        tls = settings.tls
        if asks[server] and settings.address.startswith("https:") and (tls.ca_file or tls.cert_file or not tls.verify):
            what = f"{server}.tls does not reach {', '.join(asks[server])}: there only what node or image trust counts"
            hint = f"let nodes and images trust {server}'s certificate, or give {server}.address without TLS"
            yield Finding(Severity.WARNING, "certificates", what, hint)


def dashboards(site: Site) -> Iterator[Finding]:
    """Where people open Grafana is nothing that the cluster could tell: often a proxy."""
    parts = site.config.components
    if parts.prometheus.enabled and parts.grafana.enabled and parts.grafana.root_url is None:
        what = "alerts lead to no dashboard, for it is not known where people open Grafana"
        yield Finding(Severity.WARNING, "dashboards", what, "set components.grafana.root_url in obsctl.yaml")
