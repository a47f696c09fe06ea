"""Lists in the documents: alerts from the rules, dashboards from their files, commands from the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import yaml

from generate.tables import table
from obsctl.assets import shipped
from obsctl.cli.root import COMMANDS, cli
from obsctl.config.schema import Config
from obsctl.content import dashboards as boards
from obsctl.content import rules
from obsctl.drills import faults
from obsctl.model import Json

# Everything that gets rules of its own, under names that stand for any.
_ANY = {"services": {"SERVICE": {"job": "JOB", "namespace": "NAMESPACE"}}, "profile": "ha"}


# Groups of which one row is enough: of the cluster on one machine, of drills, and of the programs that Nomad starts.
_IN_ONE_ROW = ("dev", "drill", "serve")


def help_text() -> str:
    """What `obsctl --help` prints where a terminal is wide enough."""
    argv = [sys.executable, "-m", "obsctl", "--help"]
    environ = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout


def commands() -> str:
    return table(("Command", "Does"), (row for name in COMMANDS for row in _rows_of(name)))


def _rows_of(name: str) -> Iterator[tuple[str, str]]:
    """A row, and for most groups one for each command in it."""
    command = cli.get_command(click.Context(cli), name)
    if not isinstance(command, click.Group):
        yield f"`obsctl {_usage(name, command)}`", COMMANDS[name][2]
    elif name in _IN_ONE_ROW:
        if name == "drill":
            yield "`obsctl drill FAULT SERVICE`", f"Inject a fault and prove its alert: {', '.join(faults.NAMES)}."
        below = ", ".join(f"`{words}`" for words in _words_below(command))
        yield f"`obsctl {name}` {below}", COMMANDS[name][2]
    else:
        context = click.Context(command)
        for below in sorted(command.list_commands(context)):
            part = command.get_command(context, below)
            help_line = part.get_short_help_str(limit=120) if part else ""
            yield f"`obsctl {name} {_usage(below, part)}`", help_line


def _words_below(group: click.Group) -> Iterator[str]:
    """What stands behind the group's name in its commands, those of its groups as "node stop"."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if group.name == "drill" and name in faults.NAMES:
            continue
        if isinstance(command, click.Group):
            yield from (f"{name} {words}" for words in _words_below(command))
        else:
            yield name


def _usage(name: str, command: click.Command | None) -> str:
    """The command with its arguments, as its help names them."""
    usage = click.Context(command or cli, info_name=name).get_usage()
    return " ".join(usage.removeprefix("Usage: ").replace("[OPTIONS]", "").split())


def dashboards() -> str:
    found = sorted(boards.load(Path("/nonexistent")), key=lambda board: (board.folder != "Stack", board.place))
    rows = (
        (f"[{board.title}](../dashboards/{board.place}.json)", board.folder, board.document["description"])
        for board in found
    )
    return table(("Dashboard", "Folder", "Shows"), rows)


def alerts() -> str:
    rows = (
        (
            f"[{rule['alert']}](runbooks/{rule['alert']}.md)",
            f"`{' '.join(rule['expr'].split())}`",
            rule.get("for", "at once"),
            rule["labels"]["severity"],
            where,
        )
        for rule, where in _rules()
    )
    return table(("Alert", "Expression", "For (standard)", "Severity", "From"), rows)


def runbooks() -> str:
    return " · ".join(f"[{rule['alert']}](docs/runbooks/{rule['alert']}.md)" for rule, _ in _rules())


def _rules() -> Iterator[tuple[Json, str]]:
    """Every alert, and where it is from: first those of the whole stack; those that are made for several only once."""
    files = (shipped() / "alert-rules").glob("*.yml")
    for file in sorted(files, key=lambda file: (file.stem != "stack", file.stem)):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            yield from ((rule, f"`alert-rules/{file.name}`") for rule in group["rules"] if "alert" in rule)
    made = rules.availability_group(Config.model_validate(_ANY))["rules"]
    yield from {rule["alert"]: _for_any(rule) for rule in made}.values()


def _for_any(rule: Json) -> tuple[Json, str]:
    service = rule["labels"]["service"]
    if service == "SERVICE":
        return rule, "made for each watched service"
    expr = re.sub(r"< \d+$", "< COUNT", rule["expr"].replace(service, "COMPONENT"))
    return {**rule, "expr": expr}, "made for components"
