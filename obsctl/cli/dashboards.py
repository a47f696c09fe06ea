"""obsctl dashboards: lists and checks them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.model import Severity

if TYPE_CHECKING:
    from obsctl.content.dashboards import Dashboard


@click.group()
def dashboards() -> None:
    """Grafana's dashboards: those that ship, and your own in the folder dashboards/ beside obsctl.yaml.

    Example: obsctl dashboards list
    """


@dashboards.command("list")
@click.pass_obj
def list_(app: App) -> None:
    """Show every dashboard, its folder in Grafana and its file.

    Example: obsctl dashboards list
    """
    found = _found(app)
    rows = [[one.uid, one.title, one.folder or "-", str(one.path)] for one in found]
    table = app.ui.table(["UID", "TITLE", "FOLDER", "FILE"], rows)
    listed = [{"uid": one.uid, "title": one.title, "folder": one.folder, "file": str(one.path)} for one in found]
    app.ui.result("dashboards", {"dashboards": listed}, table)


@dashboards.command()
@click.option("--strict", is_flag=True, help="Exit 1 for a warning too.")
@click.pass_obj
def lint(app: App, strict: bool) -> int:
    """Say what is wrong with each dashboard, without Grafana. Exit 1 when one would not work.

    Errors are also errors of `obsctl validate` and `obsctl deploy`; warnings are shown here alone.

    Example: obsctl dashboards lint --strict
    """
    from obsctl.content.dashboard_lint import lint as lint_all

    found = _found(app)
    findings = lint_all(found)
    for finding in findings:
        app.ui.finding(finding)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    text = f"{len(found)} dashboards: {errors} errors, {len(findings) - errors} warnings"
    app.ui.result("dashboards-lint", {"findings": [asdict(finding) for finding in findings]}, text)
    return 1 if errors or (strict and findings) else 0


def _found(app: App) -> tuple[Dashboard, ...]:
    from obsctl.content.dashboards import load

    return load(app.loaded.root)
