"""Runs a drill for a person: forecast, question, the run itself, its verdict. What every command of drills needs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl import files, names
from obsctl.cli.app import App
from obsctl.cli.options import as_seconds
from obsctl.state import state_folder
from obsctl.ui import printable

if TYPE_CHECKING:
    from obsctl.clients.programs import Clients
    from obsctl.config.schema import Config
    from obsctl.drills.plan.experiment import Experiment
    from obsctl.drills.plan.parameters import Parameter
    from obsctl.drills.plan.target import Target
    from obsctl.drills.run.runner import Options
    from obsctl.drills.world import Cluster, World


def command(fault: str) -> click.Command:
    """The command that injects this fault, with an option for each of its parameters."""
    from obsctl.drills.plan import experiment

    @click.pass_obj
    def inject(
        app: App,
        /,
        service: str,
        hold: float,
        deadline: float | None,
        wait: float,
        dry_run: bool,
        yes: bool,
        **own: str,
    ) -> int:
        from obsctl.drills.run.runner import Options

        options = Options(hold=hold, margin=app.loaded.config.drills.margin, deadline=deadline)
        written = {name: text for name, text in own.items() if text is not None}
        return run(app, experiment.load(fault, service, written), options, wait=wait, dry_run=dry_run, yes=yes)

    parameters = [
        click.Option([f"--{each.name}"], metavar=each.kind.upper(), help=help_of(each))
        for each in experiment.parameters_of(fault).values()
    ]
    text = f"{experiment.help_text(fault)}\n\nExample: obsctl drill {fault} response-service --yes"
    return click.Command(
        fault, callback=inject, params=[click.Argument(["service"]), *parameters, *_options()], help=text
    )


def help_of(parameter: Parameter) -> str:
    return parameter.help + (f" Default: {parameter.default}." if parameter.default else "")


def _options() -> list[click.Parameter]:
    """Those of every fault."""
    return [
        click.Option(["--hold"], type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
                     help="Keep the fault for so long after the last delivery."),
        click.Option(["--deadline"], type=click.FloatRange(min=10), metavar="SECONDS",
                     help="After so long the warden puts things back anyway; default: from the forecast."),
        click.Option(["--wait"], default="0s", metavar="DURATION", callback=as_seconds,
                     help="Wait so long until all is steady, 2m for example; default: refuse at once."),
        click.Option(["--dry-run"], is_flag=True, help="Forecast and gate only; nothing is touched."),
        click.Option(["-y", "--yes"], is_flag=True, help="Do not ask."),
    ]  # fmt: skip


def run(app: App, experiment: Experiment, options: Options, *, wait: float, dry_run: bool, yes: bool) -> int:
    from obsctl import lease
    from obsctl.drills.plan import steady
    from obsctl.drills.plan.target import find
    from obsctl.drills.run.runner import Drill
    from obsctl.drills.tell import journal, report
    from obsctl.drills.tell.verdict import judge

    asked_to_stop: list[int] = []
    world = world_of(app, lambda: bool(asked_to_stop))
    if wait:
        steady.wait(experiment, world, wait)
    world.programs.require(names.PROMETHEUS, names.ALERTMANAGER, names.ALERT_SINK)
    target = find(experiment, world)
    app.ui.say(f"{experiment.title} ({target.job_id}). Forecast from the live configuration:")
    app.ui.say(report.forecast_table(target.forecasts()))
    if dry_run:
        return _dry(app, target, world)
    confirm(app, experiment.question, options.total(target), yes)
    command = f"drill {experiment.fault} {experiment.service}"
    with signals(app, asked_to_stop), lease.hold(world.consul, world.stack, command) as held:
        drill_id = journal.new_id(experiment.fault, experiment.service)
        with closing(journal.Journal.create(journal_folder(app.loaded.config), drill_id)) as book:
            Drill(target, world, book, held, options).run()
    verdict = judge(book.records)
    text = f"\n{report.conclusion(verdict)}\nReport: obsctl drill report {drill_id}"
    app.ui.result("drill", report.document(book.records), text, version=journal.FORMAT)
    return verdict.exit_code


def _dry(app: App, target: Target, world: World) -> int:
    from obsctl.drills.plan import gate
    from obsctl.drills.tell import journal
    from obsctl.drills.tell.verdict import EXIT_CODES

    findings = gate.check(target, world)
    forecasts = {alert: forecast.to_dict() for alert, forecast in target.forecasts().items()}
    data = {"forecasts": forecasts, "findings": [asdict(finding) for finding in findings]}
    lines = [f"  {finding.where}: {finding.what}\n    → {finding.hint}" for finding in findings]
    text = "\n".join(["not steady:", *lines]) if findings else "steady: the drill could start"
    app.ui.result("drill-forecast", data, text, version=journal.FORMAT)
    return EXIT_CODES["NOT_STEADY"] if findings else 0


def cluster_of(config: Config, clients: Clients) -> Cluster:
    from obsctl.drills import recipes
    from obsctl.drills.world import Cluster

    secret = recipes.secret(clients.nomad, config.stack)
    return Cluster(config.stack, config.nomad.namespace, clients.nomad, clients.consul, secret)


def world_of(app: App, interrupted: Callable[[], bool]) -> World:
    from obsctl.cli import wire
    from obsctl.drills.world import World

    config = app.loaded.config
    clients = wire.clients(config)
    return World(
        **vars(cluster_of(config, clients)), programs=clients.programs, heartbeat=config.timing.heartbeat,
        emit=app.ui.event, interrupted=interrupted, services=config.services,
    )  # fmt: skip


@contextmanager
def signals(app: App, received: list[int]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP, however often they come, ask the drill to put things back and end."""

    def ask(number: int, _: object) -> None:
        text = (
            "still putting things back; this takes some seconds"
            if received
            else "ending the drill; if it has touched anything, that is put back"
        )
        received.append(number)
        with suppress(OSError, RuntimeError):  # the terminal is gone, or was being written to at this moment
            app.ui.say(f"{signal.Signals(number).name}: {text}")

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def confirm(app: App, question: str, seconds: float, yes: bool) -> None:
    if not yes:
        text = printable(f"The fault lasts at most {seconds:.0f} s. {question}")
        unasked = f"this needs an answer, and nobody can be asked: {question}"
        app.confirm(text, unasked=unasked, declined="nothing was touched")


def journal_folder(config: Config) -> Path:
    """Where the journals of this stack's drills are."""
    if config.drills.journal_dir:
        return files.expanded(config.drills.journal_dir)
    return state_folder() / "drills" / config.stack
