"""The report of a drill that is over, in several forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.options import refuse_device, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obsctl.drills.tell.journal import Record

FORMATS = ("text", "html", "junit", "json")


@click.command()
@click.argument("drill_id", metavar="ID")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True,
              help="For people, a browser, or a program.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it into this file.", metavar="FILE")
@click.pass_obj
def report(app: App, drill_id: str, form: str, out: Path | None) -> None:
    """Make the report of a drill again, from its journal.

    ID is what the drill printed, a part of it that is unique, or "last". The HTML page is one file that needs nothing
    else, for a browser, a printer, or an audit.

    Example: obsctl drill report last --format html --out drill.html
    """
    from obsctl.cli.drill_run import journal_folder
    from obsctl.drills.tell import journal
    from obsctl.drills.tell import report as reports

    if app.ui.as_json and not out and form not in ("text", "json"):
        raise click.UsageError(f"--json and --format {form} are two forms: choose one, or write {form} with --out")
    if out:
        refuse_device(out)
    path = journal.find(journal_folder(app.loaded.config), drill_id)
    if out:
        write_file(out, reports.again(path, lambda records: _text(form, records)))
        app.ui.result("drill-report", {"drill": path.stem, "format": form, "file": str(out)}, f"{out} has the report")
        return
    document, text = reports.again(path, lambda records: (reports.document(records), _text(form, records)))
    app.ui.result("drill", document, text.rstrip("\n"), version=journal.FORMAT)


def _text(form: str, records: Sequence[Record]) -> str:
    if form == "html":
        from obsctl.drills.tell.page import html

        return html(records)
    if form == "junit":
        from obsctl.drills.tell.checks import checks
        from obsctl.junit import document

        return document("obsctl drill", checks(records))
    from obsctl.drills.tell import journal, report

    if form == "json":
        return json.dumps({"schema": f"obsctl/drill/v{journal.FORMAT}", **report.document(records)}, indent=2) + "\n"
    return report.text(records) + "\n"
