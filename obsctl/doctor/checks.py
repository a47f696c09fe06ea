"""The checks of `obsctl doctor`, a row for each, in an order in which each may need those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from obsctl.doctor import (
    certificates,
    disks,
    grafana,
    here,
    identities,
    nodes,
    probe,
    production,
    programs,
    scraped,
    servers,
    tokens,
    volumes,
)
from obsctl.doctor.site import Site
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Severity


@dataclass(frozen=True, slots=True)
class Check:
    """good: what is said when it finds nothing. needs: checks that must not fail for it to be run."""

    name: str
    run: Callable[[Site], Iterable[Finding]]
    good: str
    needs: tuple[str, ...] = ()


CHECKS = (
    Check("nomad", partial(servers.answers, "nomad"), "answers and has a leader"),
    Check("consul", partial(servers.answers, "consul"), "answers and has a leader"),
    Check("nomad version", partial(servers.version, "nomad"), "is new enough for obsctl.yaml", ("nomad",)),
    Check("consul version", partial(servers.version, "consul"), "is new enough for obsctl.yaml", ("consul",)),
    Check("jobs", nodes.readable, "Nomad can read every job, and every secret is there", ("nomad",)),
    Check("rules", scraped.rules, "alert rules can be read"),
    Check("nomad token", partial(tokens.rights, "nomad"), "may do what a deploy does", ("nomad version",)),
    Check("consul token", partial(tokens.rights, "consul"), "may do what a deploy does", ("consul",)),
    Check(
        "program tokens",
        programs.tokens,
        "each program that needs one has a token with its rights",
        ("jobs", "nomad token", "consul token"),
    ),
    Check("nomad identities", identities.nomad, "get what the tasks ask of Nomad", ("nomad",)),
    Check("consul identities", identities.consul, "get what the tasks ask of Consul, or are not used", ("consul",)),
    Check(tokens.TASKS, tokens.of_tasks, "tasks can read Consul", ("nomad", "consul")),
    Check("drivers", nodes.drivers, "each driver runs on a node", ("jobs",)),
    Check("volumes", volumes.offered, "every component has a place for its data", ("drivers",)),
    Check(
        "writable",
        volumes.writable,
        "components can write to their folders, as far as can be seen from here",
        ("drivers",),
    ),
    Check("ports", nodes.ports, "no other job holds a port of the stack", ("drivers",)),
    Check("listeners", here.listeners, "no other program on this machine holds one", ("drivers",)),
    Check("room", nodes.room, "the nodes have enough cpu and memory", ("drivers",)),
    Check("placement", nodes.placement, "Nomad finds a node for every job", ("drivers", "ports")),
    Check(
        "clocks", servers.clocks, "the clocks of Nomad, Consul, the nodes and this machine agree", ("drivers", "consul")
    ),
    Check("disk", disks.room, "the nodes have room for what components keep while others are away", ("drivers",)),
    Check("programs", here.programs, "none is missing, as far as can be seen from here", ("drivers",)),
    Check("from nodes", here.reach, "programs reach what obsctl reaches: they run on this machine", ("drivers",)),
    Check("nomad metrics", servers.nomad_metrics, "are on", ("drivers",)),
    Check("consul metrics", servers.consul_metrics, "are on", ("consul token",)),
    Check("services", scraped.services, "what is watched is scraped", ("consul token", "nomad")),
    Check("metrics meta", scraped.meta, "Prometheus understands the meta of what it scrapes", ("consul token",)),
    Check(
        "certificates",
        certificates.shown,
        "the stack's programs can talk to Nomad and Consul as obsctl does",
        ("jobs", "consul"),
    ),
    Check(
        "log plugin", grafana.log_plugin, "Grafana has the plugin that reads logs, or does not need it", ("drivers",)
    ),
    Check("dashboards", grafana.dashboards, "alerts lead to their dashboards"),
    Check("state folder", here.state_folder, "can be written"),
)
PROBE = (
    Check(
        "probe",
        probe.look,
        "the nodes read Consul, have every program, and know every host",
        ("nomad token", "consul token", "drivers"),
    ),
)
"""What nodes try: in the place of what can be seen of it from here."""
_SEEN_FROM_HERE = (tokens.TASKS, "programs", "from nodes")
PRODUCTION = (
    Check("availability", production.availability, "what notifies people runs several times"),
    Check("receivers", production.receivers, "people are notified, also of a dead alert path"),
    Check("transport", production.transport, "Nomad and Consul are asked by TLS, or on this machine"),
    Check("access", production.access, "nothing can be done without a token", ("nomad", "consul")),
    Check("neighbours", production.neighbours, "no other jobs are in the stack's namespace", ("nomad token",)),
    Check("passwords", production.passwords, "Grafana has a password of its own, as far as can be seen"),
    Check("data", production.data, "no component keeps data"),
    Check("retention", production.retention, "the disk holds what Prometheus is to keep", ("drivers",)),
    Check("limits", production.limits, "every program has a limit of memory"),
    Check("images", production.images, "what runs is the same tomorrow"),
    Check("purpose", production.purpose, "neither demo nor its timing"),
)


def chosen(*, probe: bool, production: bool) -> tuple[Check, ...]:
    """The checks for these options."""
    own = [check for check in CHECKS if not (probe and check.name in _SEEN_FROM_HERE)]
    return (*own, *(PROBE if probe else ()), *(PRODUCTION if production else ()))


def examine(site: Site, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """The findings of every check, in the order of the table; for a check without findings that all is good."""
    results: list[Finding] = []
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in failed]
        if missing:
            failed.add(check.name)
            results.append(Finding(Severity.WARNING, check.name, f"not checked, because of {', '.join(missing)}"))
            continue
        findings = _run(check, site)
        if any(finding.severity is Severity.ERROR for finding in findings):
            failed.add(check.name)
        results += findings or [Finding(Severity.INFO, check.name, check.good)]
    return results


def _run(check: Check, site: Site) -> list[Finding]:
    try:
        return list(check.run(site))
    except ObsctlError as error:
        return [Finding(Severity.ERROR, check.name, error.message, error.hint)]
