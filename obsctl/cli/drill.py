"""Drills: inject a fault, prove that its alert is delivered and clears, put everything back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING

import click

from obsctl import names
from obsctl.cli import drill_run
from obsctl.cli.app import App
from obsctl.cli.options import Group
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.drills.run.selftest import Result


ELSEWHERE = {
    "explain": "obsctl.cli.drill_experiments", "list": "obsctl.cli.drill_experiments",
    "report": "obsctl.cli.drill_report", "run": "obsctl.cli.drill_experiments",
}  # fmt: skip
"""Command -> the module that has it, imported when it is needed. A name that Python has taken ends with `_` there."""


class DrillGroup(Group):
    """The commands below, those of other modules, and one for each fault."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from obsctl.drills import faults

        return [*faults.NAMES, *sorted([*super().list_commands(ctx), *ELSEWHERE])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from obsctl.drills import faults

        if cmd_name in ELSEWHERE:
            module = import_module(ELSEWHERE[cmd_name])
            command: click.Command = getattr(module, f"{cmd_name}_", None) or getattr(module, cmd_name)
            return command
        return drill_run.command(cmd_name) if cmd_name in faults.NAMES else super().get_command(ctx, cmd_name)


@click.group(cls=DrillGroup)
def drill() -> None:
    """Inject a real fault, watch its alerts go pending, firing, delivered, resolved, and put everything back.

    Exit codes: 0 PROVEN, 10 MISSED, 11 UNDELIVERED, 12 UNRESOLVED or FALSE_RESOLVE, 13 LATE, 14 COLLATERAL,
    20 NOT_STEADY, 21 LOCKED, 22 NOT_INJECTED, 30 ABORTED (put back), 40 REVERT_FAILED.

    Example: obsctl drill stop response-service
    """


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
    cluster = drill_run.cluster_of(config, wire.clients(config))
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
                finish_journal(drill_run.journal_folder(config), done[-1])
            except ObsctlError as error:  # the other drills first
                failed.append(error)
    lines = [str(item) for item in done] or ["Nothing to recover: no drill is unfinished."] * (not failed)
    document = {"recovered": [asdict(item) for item in done], "left": [asdict(item) for item in others]}
    app.ui.result("drill-recover", document, "\n".join([*lines, *map(str, others)]))
    if failed:
        raise failed[0]


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
    world = drill_run.world_of(app, lambda: bool(asked_to_stop))
    world.programs.require(names.PROMETHEUS, names.ALERTMANAGER, names.ALERT_SINK)
    drilled = experiment.load("stop", service)
    trial = cases.Trial(world, find(drilled, world))
    seconds = trial.options.total(trial.target)
    drill_run.confirm(
        app, f"Stop the job of {service} up to {len(cases.CASES)} times and silence its alert?", seconds, yes
    )
    with drill_run.signals(app, asked_to_stop), lease.hold(world.consul, world.stack, cases.COMMAND) as held:
        results = list(cases.run(drilled, world, held, drill_run.journal_folder(app.loaded.config)))
    app.ui.result("drill-selftest", {"cases": [each.to_dict() for each in results]}, _cases_table(app, results))
    return 0 if all(each.is_as_designed for each in results) else 1


def _cases_table(app: App, results: Sequence[Result]) -> str:
    headers = ("broken", "verdict", "exit", "because")
    rows = [(each.case.title, each.outcome, str(each.exit_code), each.reason) for each in results]
    wrong = [each for each in results if not each.is_as_designed]
    lines = [f"WRONG: {each.case.title} should be {each.case.outcome}: … {each.case.says} …" for each in wrong]
    ending = lines or [f"All {len(results)} ended in the verdict that names what was broken."]
    return "\n".join([app.ui.table(headers, rows), "", *ending])
