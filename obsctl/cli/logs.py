"""A component's log lines."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from obsctl import names
from obsctl.cli.app import App
from obsctl.cli.options import as_fields, as_seconds, as_trace_id
from obsctl.errors import NotFound, ObsctlError

if TYPE_CHECKING:
    from obsctl.cli.wire import Clients
    from obsctl.config.schema import Config
    from obsctl.telemetry.lines import Line, Origins, Query
    from obsctl.telemetry.logs import Found

MOST = 10_000


@click.command()
@click.argument("component", required=False)
@click.option(
    "--since", callback=as_seconds, default="15m", show_default=True, help="How far back.", metavar="DURATION"
)
@click.option("-n", "--lines", default=100, show_default=True, type=click.IntRange(1, MOST), help="At most so many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.option("--grep", default="", metavar="TEXT", help="Only lines that contain this, in upper or lower case.")
@click.option("--where", callback=as_fields, multiple=True, metavar="FIELD=VALUE",
              help="Only lines with this field: one of their own, or in their text as JSON or logfmt.")  # fmt: skip
@click.option("--trace", "trace_id", callback=as_trace_id, metavar="ID", help="Only lines of this trace.")
@click.option("--source", type=click.Choice(["auto", "store", "nomad"]), default="auto", show_default=True,
              help="Where to read; auto: the log store, or Nomad when that is down or has none.")  # fmt: skip
@click.pass_obj
def logs(app: App, /, component: str | None, lines: int, follow: bool, source: str, **wanted: Any) -> int:
    """Show the recent lines of COMPONENT, a component of the stack or any Nomad job.

    With --trace or --where and without COMPONENT: the lines of all services that fit.

    Example: obsctl logs prometheus --since 1h --grep error
    """
    from obsctl.cli import wire
    from obsctl.telemetry.lines import Origins
    from obsctl.telemetry.logs import TITLES

    if follow and app.ui.as_json:
        raise click.UsageError("--follow has no end, so there is no JSON document of it")
    if not (component or wanted["trace_id"] or wanted["where"]):
        raise click.UsageError("name a COMPONENT, a trace with --trace ID, or a field with --where FIELD=VALUE")
    config = app.loaded.config
    clients = wire.clients(config)
    query = _query(config, clients, component, lines, **wanted)
    found = _find(config, clients, query, source)
    origin = TITLES[found.source]
    app.ui.aside(f"from {origin} at {found.address}{f': {found.reason}' if found.reason else ''}")
    origins = Origins()
    data = {"source": found.source, "reason": found.reason, "lines": [_document(line) for line in found.lines]}
    app.ui.result("logs", data, _text(app, found.lines, origins))
    if not found.lines:
        app.ui.aside(_nothing(found, component))
    return _follow(app, found, origins) if follow else 0


def _query(
    config: Config, clients: Clients, component: str | None, lines: int, *, since: float, **wanted: Any
) -> Query:
    from obsctl.telemetry.lines import SECOND, Query
    from obsctl.wait import SYSTEM_CLOCK

    job = _job(config, clients, component) if component else ""
    return Query(job, since=int((SYSTEM_CLOCK.now() - since) * SECOND), limit=lines, **wanted)


def _job(config: Config, clients: Clients, name: str) -> str:
    """The Nomad job behind a name."""
    from obsctl.config.catalog import ROWS

    if name in ROWS:
        return names.job_id(config.stack, name)
    try:
        return str(clients.nomad.job(name)["ID"])
    except NotFound:
        raise click.UsageError(f"no component and no Nomad job {name}; there are {', '.join(sorted(ROWS))}") from None


def _find(config: Config, clients: Clients, query: Query, source: str) -> Found:
    from obsctl.cli import wire
    from obsctl.telemetry.logs import from_either, from_nomad, from_store

    store = partial(wire.log_store, config, clients.programs)
    if source == "nomad" and not query.job_id:
        raise click.UsageError("Nomad has lines of one job at a time: name a COMPONENT")
    if source == "nomad" and query.where:
        raise click.UsageError("Nomad knows no fields, so --where does not go with it; --grep does")
    if source == "nomad":
        return from_nomad(clients.nomad, query, "as asked for")
    if source == "store" or query.where or not query.job_id:
        return from_store(store, query)
    return from_either(store, clients.nomad, query)


def _nothing(found: Found, component: str | None) -> str:
    from obsctl.telemetry.lines import format_time
    from obsctl.telemetry.nomad_logs import NomadTail

    newest = found.tail.left_out if isinstance(found.tail, NomadTail) else None
    if newest:
        return f"no lines in this time; the newest is of {format_time(newest)}: ask for more with --since"
    return f"no lines{f' of {component}' if component else ''} in this time; --since 1h looks further back"


def _follow(app: App, found: Found, origins: Origins) -> int:
    """The exit code of Ctrl-C, which is the only end there is, and nothing to complain about."""
    from obsctl.errors import Interrupted
    from obsctl.telemetry.logs import follow

    def trouble(error: ObsctlError) -> None:
        app.ui.aside(f"{error.message}; waiting for it")

    try:
        for line in follow(found.tail, trouble):
            app.ui.line(_text(app, [line], origins))
    except KeyboardInterrupt:
        pass
    return Interrupted.exit_code


def _text(app: App, lines: list[Line], origins: Origins) -> str:
    from obsctl.telemetry.lines import pieces

    origins.notice(lines)
    return "\n".join(app.ui.paint(pieces(line, origins.of(line))) for line in lines)


def _document(line: Line) -> dict[str, Any]:
    from obsctl.telemetry.lines import format_time

    return {"time": format_time(line.at) if line.at else None, **asdict(line)}
