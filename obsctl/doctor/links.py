"""Does one thing lead to the next?"""

from __future__ import annotations

from collections.abc import Iterator

from obsctl.doctor.site import Site
from obsctl.model import Finding, Severity


def certificates(site: Site) -> Iterator[Finding]:
    """What signed a server's certificate is brought to the stack's own programs; a key that is yours is not."""
    config = site.config
    rows = [component.row for component in config.enabled_components()]
    asks = {
        "nomad": [row.name for row in rows if row.asks_nomad],
        "consul": [row.name for row in rows if row.reads_consul],
    }
    for server, settings in (("nomad", config.nomad), ("consul", config.consul)):
        who = ", ".join(asks[server])
        if not who or not settings.address.startswith("https:"):
            continue
        if settings.tls.cert_file:
            what = f"{server}.tls.cert_file stays here, so {server} does not see it from {who}"
            hint = f"let {server} take clients without one from the nodes, or give an address of it that does"
            yield Finding(Severity.WARNING, "certificates", what, hint)
        if not settings.tls.verify:
            what = f"{server}.tls.verify: false is for obsctl alone, and not for {who}"
            yield Finding(Severity.WARNING, "certificates", what, f"name what signed it in {server}.tls.ca_file")


def dashboards(site: Site) -> Iterator[Finding]:
    """Where people open Grafana is nothing that the cluster could tell: often a proxy."""
    parts = site.config.components
    if parts.prometheus.enabled and parts.grafana.enabled and parts.grafana.root_url is None:
        what = "alerts lead to no dashboard, for it is not known where people open Grafana"
        yield Finding(Severity.WARNING, "dashboards", what, "set components.grafana.root_url in obsctl.yaml")
