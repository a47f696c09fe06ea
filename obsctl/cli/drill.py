"""Drills: inject a fault, prove that its alert is delivered and clears, put everything back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl import files, names
from obsctl.cli.app import App
from obsctl.cli.options import Group, as_seconds
from obsctl.errors import ObsctlError
from obsctl.state import state_folder
from obsctl.ui import printable

if TYPE_CHECKING:
    from obsctl.clients.programs import Clients
    from obsctl.config.schema import Config
    from obsctl.drills.plan.experiment import Experiment
    from obsctl.drills.plan.target import Target
    from obsctl.drills.run.runner import Options
    from obsctl.drills.run.selftest import Result
    from obsctl.drills.world import Cluster, World


class DrillGroup(Group):
    """The commands below, and one for each fault."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from obsctl.drills import faults

        return [*faults.NAMES, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from obsctl.drills import faults

        return _command(cmd_name) if cmd_name in faults.NAMES else super().get_command(ctx, cmd_name)


@click.group(cls=DrillGroup)
def drill() -> None:
    """Inject a real fault, watch its alerts go pending, firing, delivered, resolved, and put everything back.

    Exit codes: 0 PROVEN, 10 MISSED, 11 UNDELIVERED, 12 UNRESOLVED or FALSE_RESOLVE, 13 LATE, 14 COLLATERAL,
    20 NOT_STEADY, 21 LOCKED, 22 NOT_INJECTED, 30 ABORTED (put back), 40 REVERT_FAILED.

    Example: obsctl drill stop response-service
    """


def _command(fault: str) -> click.Command:
    """The command that injects this fault."""
    from obsctl.drills.plan import experiment

    @click.command(fault, help=f"{experiment.help_text(fault)}\n\nExample: obsctl drill {fault} response-service --yes")
    @click.argument("service")
    @click.option("--hold", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
                  help="Keep the fault for so long after the last delivery.")  # fmt: skip
    @click.option("--deadline", type=click.FloatRange(min=10), metavar="SECONDS",
                  help="After so long the warden puts things back anyway; default: from the forecast.")  # fmt: skip
    @click.option("--wait", default="0s", metavar="DURATION", callback=as_seconds,
                  help="Wait so long until all is steady, 2m for example; default: refuse at once.")  # fmt: skip
    @click.option("--dry-run", is_flag=True, help="Forecast and gate only; nothing is touched.")
    @click.option("-y", "--yes", is_flag=True, help="Do not ask.")
    @click.pass_obj
    def command(
        app: App, service: str, hold: float, deadline: float | None, wait: float, dry_run: bool, yes: bool
    ) -> int:
        from obsctl.drills.run.runner import Options

        options = Options(hold=hold, margin=app.loaded.config.drills.margin, deadline=deadline)
        return _run(app, experiment.load(fault, service), options, wait=wait, dry_run=dry_run, yes=yes)

    return command


@drill.command()
@click.pass_obj
def recover(app: App) -> None:
    """Finish drills that died: see that their services are back, and let new drills start.

    The warden puts a service back by itself; this makes sure of it, or does it when the warden does not run.

    Example: obsctl drill recover
    """
    from obsctl import lease
    from obsctl.cli import wire
    from obsctl.drills import recipes
    from obsctl.drills.run.reverting import Left, Recovered, finish_journal, left
    from obsctl.drills.run.reverting import recover as recover_one

    config = app.loaded.config
    cluster = _cluster(config, wire.clients(config))
    done: list[Recovered] = []
    others: list[Left] = []
    failed: list[ObsctlError] = []
    with lease.hold(cluster.consul, config.stack, "drill recover"):
        for entry in recipes.read(cluster):
            if entry.is_reserved:
                recipes.remove(cluster, entry.drill)
                continue
            if entry.recipe is None:
                others.append(left(entry, config.consul))
                failed += others[-1].failures()
                continue
            try:
                done.append(recover_one(cluster, entry, entry.recipe))
                finish_journal(journal_folder(config), done[-1])
            except ObsctlError as error:  # the other drills first
                failed.append(error)
    lines = [str(item) for item in done] or ["Nothing to recover: no drill is unfinished."] * (not failed)
    document = {"recovered": [asdict(item) for item in done], "left": [asdict(item) for item in others]}
    app.ui.result("drill-recover", document, "\n".join([*lines, *map(str, others)]))
    if failed:
        raise failed[0]


@drill.command()
@click.argument("drill_id", metavar="ID")
@click.pass_obj
def report(app: App, drill_id: str) -> None:
    """Make the report of a drill again, from its journal.

    ID is what the drill printed, a part of it that is unique, or "last".

    Example: obsctl drill report last
    """
    from obsctl.drills.tell import journal
    from obsctl.drills.tell import report as reports

    document, text = reports.again(journal.find(journal_folder(app.loaded.config), drill_id))
    app.ui.result("drill", document, text, version=journal.FORMAT)


@drill.command()
@click.argument("service")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def selftest(app: App, service: str, yes: bool) -> int:
    """Break drills of SERVICE on purpose: each must say what was broken.

    It stops the service several times and silences its alert meanwhile. Receivers get the notifications. What is
    broken is mended after each case, and ends by itself if obsctl dies. Exit code 0: every case ended in its verdict.

    Example: obsctl drill selftest response-service --yes
    """
    from obsctl import lease
    from obsctl.drills.plan import experiment
    from obsctl.drills.plan.target import find
    from obsctl.drills.run import selftest as cases

    asked_to_stop: list[int] = []
    world = _world(app, lambda: bool(asked_to_stop))
    world.programs.require(names.PROMETHEUS, names.ALERTMANAGER, names.ALERT_SINK)
    drilled = experiment.load("stop", service)
    trial = cases.Trial(world, find(drilled, world))
    seconds = trial.options.total(trial.target)
    _confirm(app, f"Stop the job of {service} up to {len(cases.CASES)} times and silence its alert?", seconds, yes)
    with _signals(app, asked_to_stop), lease.hold(world.consul, world.stack, cases.COMMAND) as held:
        results = list(cases.run(drilled, world, held, journal_folder(app.loaded.config)))
    app.ui.result("drill-selftest", {"cases": [each.to_dict() for each in results]}, _cases_table(app, results))
    return 0 if all(each.is_as_designed for each in results) else 1


def _cases_table(app: App, results: Sequence[Result]) -> str:
    headers = ("broken", "verdict", "exit", "because")
    rows = [(each.case.title, each.outcome, str(each.exit_code), each.reason) for each in results]
    wrong = [each for each in results if not each.is_as_designed]
    lines = [f"WRONG: {each.case.title} should be {each.case.outcome}: … {each.case.says} …" for each in wrong]
    ending = lines or [f"All {len(results)} ended in the verdict that names what was broken."]
    return "\n".join([app.ui.table(headers, rows), "", *ending])


def _run(app: App, experiment: Experiment, options: Options, *, wait: float, dry_run: bool, yes: bool) -> int:
    from obsctl import lease
    from obsctl.drills.plan import steady
    from obsctl.drills.plan.target import find
    from obsctl.drills.run.runner import Drill
    from obsctl.drills.tell import journal, report
    from obsctl.drills.tell.verdict import judge

    asked_to_stop: list[int] = []
    world = _world(app, lambda: bool(asked_to_stop))
    if wait:
        steady.wait(experiment, world, wait)
    world.programs.require(names.PROMETHEUS, names.ALERTMANAGER, names.ALERT_SINK)
    target = find(experiment, world)
    app.ui.say(f"{experiment.title} ({target.job_id}). Forecast from the live configuration:")
    app.ui.say(report.forecast_table(target.forecasts()))
    if dry_run:
        return _dry(app, target, world)
    _confirm(app, experiment.question, options.total(target), yes)
    command = f"drill {experiment.fault} {experiment.service}"
    with _signals(app, asked_to_stop), lease.hold(world.consul, world.stack, command) as held:
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


def _cluster(config: Config, clients: Clients) -> Cluster:
    from obsctl.drills import recipes
    from obsctl.drills.world import Cluster

    secret = recipes.secret(clients.nomad, config.stack)
    return Cluster(config.stack, config.nomad.namespace, clients.nomad, clients.consul, secret)


def _world(app: App, interrupted: Callable[[], bool]) -> World:
    from obsctl.cli import wire
    from obsctl.drills.world import World

    config = app.loaded.config
    clients = wire.clients(config)
    return World(
        **vars(_cluster(config, clients)), programs=clients.programs, heartbeat=config.timing.heartbeat,
        emit=app.ui.event, interrupted=interrupted, services=config.services,
    )  # fmt: skip


@contextmanager
def _signals(app: App, received: list[int]) -> Iterator[None]:
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


def _confirm(app: App, question: str, seconds: float, yes: bool) -> None:
    if not yes:
        text = printable(f"The fault lasts at most {seconds:.0f} s. {question}")
        unasked = f"this needs an answer, and nobody can be asked: {question}"
        app.confirm(text, unasked=unasked, declined="nothing was touched")


def journal_folder(config: Config) -> Path:
    """Where the journals of this stack's drills are."""
    if config.drills.journal_dir:
        return files.expanded(config.drills.journal_dir)
    return state_folder() / "drills" / config.stack
