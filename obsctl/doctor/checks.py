"""The checks of `obsctl doctor`, one row each, in the order in which one builds on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from obsctl.doctor import here, links, nodes, plugin, servers, tokens, volumes
from obsctl.doctor.site import Site
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Severity


@dataclass(frozen=True, slots=True)
class Check:
    """One look at one thing. good: what is said when it finds nothing. needs: checks without which it says nothing."""

    name: str
    run: Callable[[Site], Iterable[Finding]]
    good: str
    needs: tuple[str, ...] = ()


CHECKS = (
    Check("nomad", servers.nomad, "answers and has a leader"),
    Check("consul", servers.consul, "answers and has a leader"),
    Check("nomad version", servers.nomad_version, "is new enough for what obsctl.yaml asks for", ("nomad",)),
    Check("consul version", servers.consul_version, "is new enough for what obsctl.yaml asks for", ("consul",)),
    Check("clocks", servers.clocks, "those of Nomad, Consul and this machine agree", ("nomad", "consul")),
    Check("jobs", nodes.readable, "Nomad can read every job, and every secret is there", ("nomad",)),
    Check("nomad token", tokens.nomad, "may do what a deploy does", ("jobs", "nomad version")),
    Check("consul token", tokens.consul, "may do what a deploy does", ("consul",)),
    Check("tasks", tokens.of_tasks, "can read Consul with a token, where it wants one", ("nomad",)),
    Check("drivers", nodes.drivers, "a node can run each", ("jobs",)),
    Check("volumes", volumes.offered, "there is a place for all data", ("drivers",)),
    Check("writable", volumes.writable, "no folder that can be seen is closed to its user", ("drivers",)),
    Check("ports", nodes.ports, "no other job has a port of the stack", ("drivers",)),
    Check("listeners", here.listeners, "nothing else on this machine has one either", ("drivers",)),
    Check("room", nodes.room, "the nodes have enough cpu and memory", ("drivers",)),
    Check("placement", nodes.placement, "Nomad finds a node for every job", ("drivers", "ports")),
    Check("programs", here.programs, "none that can be seen is missing", ("drivers",)),
    Check("nomad metrics", servers.nomad_metrics, "are on", ("drivers",)),
    Check("consul metrics", servers.consul_metrics, "are on", ("consul token",)),
    Check("certificates", links.certificates, "the programs of the stack need none that they do not have"),
    Check("log plugin", plugin.log_plugin, "Grafana has what reads the logs, or needs nothing", ("drivers",)),
    Check("dashboards", links.dashboards, "alerts lead to those there are"),
    Check("state folder", here.state_folder, "can be written"),
)


def examine(site: Site) -> list[Finding]:
    """Every check's findings, in the order of the table; of one that finds nothing that it is fine."""
    found: list[Finding] = []
    failed: set[str] = set()
    for check in CHECKS:
        missing = [name for name in check.needs if name in failed]
        if missing:
            failed.add(check.name)
            found.append(Finding(Severity.WARNING, check.name, f"not checked, because of {', '.join(missing)}"))
            continue
        findings = _run(check, site)
        if any(finding.severity is Severity.ERROR for finding in findings):
            failed.add(check.name)
        found += findings or [Finding(Severity.INFO, check.name, check.good)]
    return found


def _run(check: Check, site: Site) -> list[Finding]:
    try:
        return list(check.run(site))
    except ObsctlError as error:
        return [Finding(Severity.ERROR, check.name, error.message, error.hint)]
