"""obsctl dashboards: lists and checks them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.options import Group
from obsctl.model import Severity

if TYPE_CHECKING:
    from obsctl.content.dashboards import Dashboard


@click.group(cls=Group)
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
    boards = _boards(app)
    rows = [[board.uid, board.title, board.folder or "-", str(board.path)] for board in boards]
    table = app.ui.table(["UID", "TITLE", "FOLDER", "FILE"], rows)
    listed = [
        {"uid": board.uid, "title": board.title, "folder": board.folder, "file": str(board.path)} for board in boards
    ]
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

    boards = _boards(app)
    findings = lint_all(boards)
    for finding in findings:
        app.ui.finding(finding)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    text = f"{len(boards)} dashboards: {errors} errors, {len(findings) - errors} warnings"
    app.ui.result("dashboards-lint", {"findings": [asdict(finding) for finding in findings]}, text)
    return 1 if errors or (strict and findings) else 0


def _boards(app: App) -> tuple[Dashboard, ...]:
    from obsctl.content.dashboards import load

    return load(app.loaded.root)
