"""The checks of `obsctl doctor`, a row for each, in an order in which each may need those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from obsctl.doctor import grafana, here, nodes, scraped, servers, tokens, volumes
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
    Check("clocks", servers.clocks, "the clocks of Nomad, Consul and this machine agree", ("nomad", "consul")),
    Check("jobs", nodes.readable, "Nomad can read every job, and every secret is there", ("nomad",)),
    Check("rules", scraped.rules, "alert rules can be read"),
    Check("nomad token", partial(tokens.rights, "nomad"), "may do what a deploy does", ("nomad version",)),
    Check("consul token", partial(tokens.rights, "consul"), "may do what a deploy does", ("consul",)),
    Check("tasks", tokens.of_tasks, "tasks can read Consul", ("nomad",)),
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
    Check("programs", here.programs, "none is missing, as far as can be seen from here", ("drivers",)),
    Check("nomad metrics", servers.nomad_metrics, "are on", ("drivers",)),
    Check("consul metrics", servers.consul_metrics, "are on", ("consul token",)),
    Check("services", scraped.services, "what is watched is scraped", ("consul token", "nomad")),
    Check("metrics meta", scraped.meta, "Prometheus understands the meta of what it scrapes", ("consul token",)),
    Check("certificates", servers.certificates, "the programs of the stack need no client certificate"),
    Check(
        "log plugin", grafana.log_plugin, "Grafana has the plugin that reads logs, or does not need it", ("drivers",)
    ),
    Check("dashboards", grafana.dashboards, "alerts lead to their dashboards"),
    Check("state folder", here.state_folder, "can be written"),
)


def examine(site: Site) -> list[Finding]:
    """The findings of every check, in the order of the table; for a check without findings that all is good."""
    results: list[Finding] = []
    failed: set[str] = set()
    for check in CHECKS:
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
