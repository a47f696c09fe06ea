"""`obsctl doctor`: what would stop a deploy or leave it blind."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.model import Finding, Severity

if TYPE_CHECKING:
    from obsctl.doctor.site import Site

_VERDICTS = ("Nothing stands in the way of a deploy", "A deploy would not succeed")
_UNPROVED = "Not proved that a deploy would succeed"
_FROM_HERE = ", as far as can be seen without --probe"
_PRODUCTION_VERDICTS = ("Fit for production, as far as can be seen", "Not fit for production")
_MARKS = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.INFO: "✓", Severity.UNSEEN: "?"}


@click.command()
@click.option("--production", is_flag=True, help="Look also for what a deploy does not mind, and people should.")
@click.option(
    "--probe",
    is_flag=True,
    help="Let each node read Consul, find it, resolve hosts and look for programs, by a job that ends by itself.",
)
@click.pass_obj
def doctor(app: App, production: bool, probe: bool) -> int:
    """Look for what would stop a deploy or leave it blind, and say how to fix it.

    Exit 1 when a deploy would not succeed. What would only leave it partly blind is a warning. Exit 0 also when it is
    not proved that a deploy would succeed: the last line names what is open, as it cannot be seen and may stop a
    deploy, and what would settle it, as --probe or a token that may read ACLs; in JSON `proved` is false.

    Changes nothing without --probe: rights are tried by calls that cannot take effect, and by a Consul session that
    is ended at once. --probe registers the job STACK-doctor-probe with raw_exec, on the nodes where jobs of the stack
    may run, and stops it. Each node shows whether its templates may read Consul, for which a key is there meanwhile,
    whether Consul answers where programs ask it, whether it resolves the hosts of obsctl.yaml (DNS), and whether it
    has the programs that run there with raw_exec. Nodes without raw_exec are named, and stay open. --production adds
    availability, receivers, TLS, ACLs, passwords, storage, retention against disk, limits and images; then exit 1
    also means that people should not rely on the cluster yet.

    Example: obsctl doctor --production
    """
    from obsctl.doctor.checks import chosen, examine
    from obsctl.doctor.proof import unsettled

    findings = examine(site_of(app), chosen(probe=probe, production=production))
    counts = {level.value: sum(finding.severity is level for finding in findings) for level in Severity}
    lines = [line for finding in findings for line in _lines(finding)]
    good, bad = _PRODUCTION_VERDICTS if production else _VERDICTS
    still_open = unsettled(findings, probe=probe)
    good = _UNPROVED if still_open else good + ("" if probe or production else _FROM_HERE)
    verdict = bad if counts["error"] else good
    unseen = f", {counts['unseen']} not seen" if counts["unseen"] else ""
    lines.append(
        f"{verdict}: {_count(counts['error'], 'error')}, {_count(counts['warning'], 'warning')}{unseen}."
        + _named(still_open if not counts["error"] else [])
    )
    document = {
        "healthy": not counts["error"],
        "proved": not still_open,
        "counts": counts,
        "findings": [asdict(finding) for finding in findings],
    }
    app.ui.result("doctor", document, "\n".join(lines))
    return 1 if counts["error"] else 0


def _named(still_open: list[Finding]) -> str:
    """What is open, and what would settle it; each once."""
    named = dict.fromkeys(f"{each.where} (settled by {each.settled_by})" for each in still_open)
    return f" Open: {', '.join(named)}." if named else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _lines(finding: Finding) -> list[str]:
    first = f"{_MARKS[finding.severity]} {finding.where}: {finding.what}"
    return [first, f"    {finding.hint}"] if finding.hint else [first]


def site_of(app: App) -> Site:
    """What the checks look at."""
    from obsctl.cli import wire
    from obsctl.cli.drill_run import journal_folder
    from obsctl.clients import connect
    from obsctl.doctor.site import Site
    from obsctl.stack.observe import resolver

    config = app.loaded.config
    clients, cluster = wire.clients(config), wire.local_cluster(config)
    return Site(
        config=config,
        root=app.loaded.root,
        nomad=clients.nomad,
        consul=clients.consul,
        programs=clients.programs,
        resolve=resolver(clients.nomad),
        agent=lambda address: connect.nomad(config.nomad.model_copy(update={"address": address})),
        logins=wire.logins(config),
        state=journal_folder(config),
        path=cluster.client_path() if cluster else None,
    )
