"""verify: whether the running stack does its work, from the first scrape to the last receiver."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.options import as_seconds, refuse_device, write_file

if TYPE_CHECKING:
    from obsctl.junit import Check


@click.command()
@click.option("--receivers", is_flag=True, help="Also send a test notification to the people behind each receiver.")
@click.option("--wait", callback=as_seconds, default="0s", help="How long what fails may take to become right.",
              metavar="DURATION")  # fmt: skip
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the checks as JUnit XML.",
              metavar="FILE")  # fmt: skip
@click.pass_obj
def verify(app: App, receivers: bool, wait: float, junit: Path | None) -> int:
    """Check that the stack works: telemetry, targets, rules, dashboards, receivers, heartbeat. Exit 1 when one fails.

    It sends a metric, a trace and a log line of its own and looks for them, asks the backends each query of each
    dashboard, and lets Alertmanager notify alert-sink. Nothing on the cluster is changed.

    Example: obsctl verify --wait 2m --junit verify.xml
    """
    from obsctl.cli import wire
    from obsctl.junit import document
    from obsctl.stack.render import render
    from obsctl.verify.run import verify as run
    from obsctl.verify.site import Site

    if junit:
        refuse_device(junit)
    loaded = app.loaded
    site = Site(loaded.config, render(loaded.config, loaded.root), wire.clients(loaded.config), app.ui.event, receivers)
    checks = run(site, wait)
    if junit:
        write_file(junit, document("obsctl verify", checks))
    counts = Counter(check.outcome.value for check in checks)
    answer = {"passed": not counts["failed"], "counts": counts, "checks": [asdict(check) for check in checks]}
    app.ui.result("verify", answer, _text(app, checks, counts))
    return 1 if counts["failed"] else 0


def _text(app: App, checks: list[Check], counts: Counter[str]) -> str:
    """Those of which something is to be said; with -v all."""
    rows = [
        [check.suite, check.outcome.value, check.name, " ".join(check.text.split())]
        for check in checks
        if check.text or app.ui.verbosity > 0
    ]
    table = app.ui.table(["SUITE", "RESULT", "CHECK", ""], rows) + "\n\n" if rows else ""
    sums = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))
    return f"{table}{len(checks)} checks: {sums}."
