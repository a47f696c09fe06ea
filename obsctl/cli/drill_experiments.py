"""Experiments: those of the library, and files of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl.cli import drill_run
from obsctl.cli.app import App
from obsctl.cli.options import as_seconds

if TYPE_CHECKING:
    from obsctl.drills.plan.experiment import Experiment, Labels
    from obsctl.model import Json


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--wait", default="0s", metavar="DURATION", callback=as_seconds,
              help="Wait so long until all is steady, 2m for example; default: refuse at once.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Forecast and gate only; nothing is touched.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def run(app: App, file: Path, wait: float, dry_run: bool, yes: bool) -> int:
    """Run the experiment that FILE describes.

    A YAML file with fault and service, and what of it is not as in the library: parameters, expect (alerts with
    labels and, if you like, within), forbid, allow, hold, deadline, title.

    Example: obsctl drill run drills/checkout-survives-a-crash.yaml --yes
    """
    from obsctl.drills.plan import experiment
    from obsctl.drills.run.runner import Options

    described, written = experiment.from_file(file, Path.cwd())
    options = Options(hold=written.hold, margin=app.loaded.config.drills.margin, deadline=written.deadline)
    return drill_run.run(app, described, options, wait=wait, dry_run=dry_run, yes=yes)


@click.command("list")
@click.pass_obj
def list_(app: App) -> None:
    """List the faults, and what each proves.

    Example: obsctl drill list
    """
    from obsctl.drills import faults
    from obsctl.drills.plan import experiment

    known = [experiment.sample(name) for name in faults.NAMES]
    rows = [(each.fault, _alerts(each), experiment.help_text(each.fault)) for each in known]
    document = [{"name": each.fault, "help": experiment.help_text(each.fault), **_facts(each)} for each in known]
    app.ui.result("drill-faults", {"faults": document}, app.ui.table(("fault", "alert", "what it does"), rows))


def _alerts(each: Experiment) -> str:
    comes = [f"{labels['alertname']} comes" for labels in each.expect.values()]
    stays = [f"{labels['alertname']} stays away" for labels in each.forbid.values()]
    return ", ".join(comes + stays)


def _facts(each: Experiment) -> Json:
    alerts = {"expect": list(each.expect.values()), "forbid": list(each.forbid.values()), "allow": list(each.allow)}
    return {"title": each.title, **alerts}


@click.command()
@click.argument("fault")
@click.pass_obj
def explain(app: App, fault: str) -> None:
    """Explain a fault: what it does, its parameters, the alerts that must come, must not come, and may come.

    Example: obsctl drill explain freeze
    """
    from obsctl.drills.plan import experiment

    described, parameters = experiment.sample(fault), experiment.parameters_of(fault)
    options = [f"--{each.name} {each.kind.upper()}  {drill_run.help_of(each)}" for each in parameters.values()]
    parts = {
        "must come": [_in_words(labels) for labels in described.expect.values()],
        "must not come": [_in_words(labels) for labels in described.forbid.values()],
        "may come": [_in_words(labels) for labels in described.allow],
        "parameters": options,
    }
    lines = [experiment.help_text(fault)]
    for title, entries in parts.items():
        lines += [f"\n{title}:", *(f"  {entry}" for entry in entries)] if entries else []
    document = {
        "name": fault,
        "parameters": {name: parameter.kind for name, parameter in parameters.items()},
        **_facts(described),
    }
    app.ui.result("drill-fault", document, "\n".join(lines))


def _in_words(labels: Labels) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())
