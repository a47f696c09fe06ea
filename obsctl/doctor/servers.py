"""Whether Nomad and Consul answer, are new enough, agree about the time, and publish metrics."""

from __future__ import annotations

from collections.abc import Iterator

from obsctl.clients.protocols import AgentApi
from obsctl.config import versions
from obsctl.doctor.proof import by_version
from obsctl.doctor.site import Site
from obsctl.errors import ApiError, Forbidden, Rejected
from obsctl.model import Finding, Severity

SKEW = 2.0
"""Seconds that a server's clock may differ; the Date header has whole seconds."""


def answers(name: str, site: Site) -> Iterator[Finding]:
    """Raises ApiError when it does not answer."""
    if not site.server(name).leader():
        yield Finding(Severity.ERROR, name, "has no leader, so nothing can be changed", f"check the {name} servers")


def version(name: str, site: Site) -> Iterator[Finding]:
    """What it cannot do and the configuration asks for."""
    try:
        reported = site.server(name).agent_version()
    except Forbidden as error:
        settled_by = by_version(name) if _wants_more(name, site) else ""
        yield Finding.warning(name, "its version cannot be read", error.hint, settled_by=settled_by)
        return
    number, configured = versions.parse(reported), site.oldest_version(name)
    if configured and number and number < versions.parse(configured):
        what = f"is {configured} in obsctl.yaml, and the server has {reported}"
        hint = "correct it, because `obsctl validate` uses it"
        yield Finding(Severity.WARNING, f"{name}.version", what, hint)
    yield from versions.findings(site.config, {name: number})


def _wants_more(name: str, site: Site) -> bool:
    """Whether obsctl.yaml asks for something that the oldest version is refused for."""
    oldest = {name: versions.SUPPORTED[name].oldest}
    return any(need.severity is Severity.ERROR for need, _ in versions.unmet(site.config, oldest))


def clocks(site: Site) -> Iterator[Finding]:
    """Those of the servers, and of each node's agent."""
    for name in ("nomad", "consul"):
        yield from _skew(name, site, site.server(name))
    for node in site.details.values():
        try:
            yield from _skew(node["Name"], site, site.agent_on(node))
        except ApiError as error:
            yield Finding.unseen(node["Name"], f"its clock cannot be seen from here ({error.message})")


def _skew(where: str, site: Site, api: AgentApi) -> Iterator[Finding]:
    before = site.clock.now()
    theirs = api.server_time()
    skew = max(before - theirs - 1, theirs - site.clock.now(), 0.0)  # their second may be nearly over
    if skew > SKEW:
        what = f"its clock differs from this machine's by {skew:.0f} s, so times in drills and dashboards are wrong"
        yield Finding.warning(where, what, "synchronize both clocks by NTP")


def nomad_metrics(site: Site) -> Iterator[Finding]:
    """Those of the servers at the configured address, those of each client at its own."""
    on = "telemetry { prometheus_metrics = true } in the agent's configuration"
    try:
        site.nomad.metrics()
    except Rejected:
        what = "publishes no metrics: JobNotRunning can never fire, and Nomad's dashboard stays empty"
        yield Finding(Severity.WARNING, "nomad", what, on)
    for node_id, node in site.details.items():
        try:
            text = site.agent_on(node).metrics()
        except Rejected:
            yield Finding(Severity.WARNING, node["Name"], "its Nomad client publishes no metrics", on)
        except ApiError as error:
            yield Finding.unseen(node["Name"], f"its metrics cannot be seen from here ({error.message})")
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
    except Forbidden:
        pass  # the check of the token says so
