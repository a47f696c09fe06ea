"""`obsctl doctor`: what would stop a deploy or leave it blind."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.model import Finding, Severity

if TYPE_CHECKING:
    from obsctl.doctor.site import Site

_MARKS = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.INFO: "✓"}


@click.command()
@click.pass_obj
def doctor(app: App) -> int:
    """Look for what would stop a deploy or leave it blind, and say how to fix it.

    Exit 1 when a deploy would not succeed. What would only leave it partly blind is a warning.

    Changes nothing: rights are tried by calls that cannot take effect, and by a Consul session that is ended at once.

    Example: obsctl doctor
    """
    from obsctl.doctor.checks import examine

    findings = examine(_site(app))
    counts = {level.value: sum(finding.severity is level for finding in findings) for level in Severity}
    lines = [line for finding in findings for line in _lines(finding)]
    verdict = "A deploy would not succeed" if counts["error"] else "Nothing stands in the way of a deploy"
    lines.append(f"{verdict}: {_count(counts['error'], 'error')}, {_count(counts['warning'], 'warning')}.")
    document = {"healthy": not counts["error"], "counts": counts, "findings": [asdict(finding) for finding in findings]}
    app.ui.result("doctor", document, "\n".join(lines))
    return 1 if counts["error"] else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _lines(finding: Finding) -> list[str]:
    first = f"{_MARKS[finding.severity]} {finding.where}: {finding.what}"
    return [first, f"    {finding.hint}"] if finding.hint else [first]


def _site(app: App) -> Site:
    from obsctl.cli import wire
    from obsctl.cli.drill import journal_folder
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
        state=journal_folder(config),
        path=cluster.client_path() if cluster else None,
    )
