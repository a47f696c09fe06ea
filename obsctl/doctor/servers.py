"""Whether Nomad and Consul answer, are new enough, agree about the time, publish metrics and can be reached by TLS."""

from __future__ import annotations

from collections.abc import Iterator

from obsctl.config import versions
from obsctl.doctor.site import Site
from obsctl.errors import ApiError, Forbidden, Rejected
from obsctl.model import Finding, Severity

SKEW = 2.0
"""Seconds that a server's clock may differ; the Date header has whole seconds."""


_AGENT_RULES = {"nomad": 'agent { policy = "read" }', "consul": 'agent_prefix "" { policy = "read" }'}


def answers(name: str, site: Site) -> Iterator[Finding]:
    """Raises ApiError when it does not answer."""
    if not site.server(name).leader():
        yield Finding(Severity.ERROR, name, "has no leader, so nothing can be changed", f"check the {name} servers")


def version(name: str, site: Site) -> Iterator[Finding]:
    """What it cannot do and the configuration asks for."""
    try:
        reported = site.server(name).agent_version()
    except Forbidden:
        hint = f"the token needs {_AGENT_RULES[name]}"
        yield Finding(Severity.WARNING, name, "its version cannot be read", hint)
        return
    number, configured = versions.parse(reported), site.oldest_version(name)
    if configured and number and number < versions.parse(configured):
        what = f"is {configured} in obsctl.yaml, and the server has {reported}"
        hint = "correct it, because `obsctl validate` uses it"
        yield Finding(Severity.WARNING, f"{name}.version", what, hint)
    yield from versions.findings(site.config, {name: number})


def clocks(site: Site) -> Iterator[Finding]:
    for name in ("nomad", "consul"):
        api = site.server(name)
        before = site.clock.now()
        theirs = api.server_time()
        skew = max(before - theirs - 1, theirs - site.clock.now(), 0.0)  # their second may be nearly over
        if skew > SKEW:
            what = f"its clock differs from this machine's by {skew:.0f} s, so times in drills and dashboards are wrong"
            yield Finding(Severity.WARNING, name, what, "synchronize both clocks by NTP")


def nomad_metrics(site: Site) -> Iterator[Finding]:
    """Those of the servers at the configured address, those of each client at its own."""
    on = "telemetry { prometheus_metrics = true } in the agent's configuration"
    try:
        site.nomad.metrics()
    except Rejected:
        what = "publishes no metrics: JobNotRunning can never fire, and Nomad's dashboard stays empty"
        yield Finding(Severity.WARNING, "nomad", what, on)
    for node_id, node in site.details.items():
        scheme = "https" if node.get("TLSEnabled") else "http"
        try:
            text = site.agent(f"{scheme}://{node['HTTPAddr']}").metrics()
        except Rejected:
            yield Finding(Severity.WARNING, node["Name"], "its Nomad client publishes no metrics", on)
        except ApiError as error:
            yield Finding(Severity.INFO, node["Name"], f"its metrics cannot be seen from here ({error.message})")
        else:
            if site.allocations[node_id] and "nomad_client_allocs_memory_" not in text:
                what = "its Nomad client publishes no metrics of allocations: their use of cpu and memory is not seen"
                hint = "telemetry { publish_allocation_metrics = true } in the client's configuration"
                yield Finding(Severity.WARNING, node["Name"], what, hint)


def consul_metrics(site: Site) -> Iterator[Finding]:
    try:
        site.consul.metrics()
    except Rejected:
        what = "publishes no metrics: its dashboard stays empty"
        hint = 'telemetry { prometheus_retention_time = "60s" } in the agent\'s configuration'
        yield Finding(Severity.WARNING, "consul", what, hint)


def certificates(site: Site) -> Iterator[Finding]:
    """The stack's programs get the CA of a server, but never the key of a user."""
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
            what = f"{server}.tls.cert_file is not brought to the nodes, so {server} gets no certificate from {who}"
            hint = f"let {server} accept clients without a certificate from the nodes, or give an address where it does"
            yield Finding(Severity.WARNING, "certificates", what, hint)
        if not settings.tls.verify:
            what = f"{server}.tls.verify: false holds for obsctl alone, and not for {who}"
            yield Finding(
                Severity.WARNING, "certificates", what, f"name the CA of its certificate in {server}.tls.ca_file"
            )
