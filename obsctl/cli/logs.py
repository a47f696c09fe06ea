"""A component's log lines."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from obsctl import names
from obsctl.cli.app import App
from obsctl.cli.options import as_fields, as_seconds, as_trace_id
from obsctl.errors import Interrupted, NotFound, ObsctlError
from obsctl.model import Json
from obsctl.telemetry.lines import SECOND, Line, Origins, Query, format_time, pieces
from obsctl.telemetry.logs import TITLES, LogView, follow, from_either, from_nomad, from_store
from obsctl.telemetry.nomad_logs import NomadTail
from obsctl.wait import SYSTEM_CLOCK

if TYPE_CHECKING:
    from obsctl.clients.programs import Clients
    from obsctl.config.schema import Config
    from obsctl.ui import Row

MOST = 10_000


@click.command()
@click.argument("component", required=False)
@click.option(
    "--since", callback=as_seconds, default="15m", show_default=True, help="How far back.", metavar="DURATION"
)
@click.option("-n", "--lines", "limit", default=100, show_default=True, type=click.IntRange(1, MOST),
              help="At most so many.")  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.option("--grep", default="", metavar="TEXT", help="Only lines that contain this, in upper or lower case.")
@click.option("--where", callback=as_fields, multiple=True, metavar="FIELD=VALUE",
              help="Only lines with this field: one of their own, or in their text as JSON or logfmt.")  # fmt: skip
@click.option("--trace", "trace_id", callback=as_trace_id, metavar="ID", help="Only lines of this trace.")
@click.option("--source", type=click.Choice(["auto", "store", "nomad"]), default="auto", show_default=True,
              help="Where to read; auto: the log store, or Nomad when that is down or has none.")  # fmt: skip
@click.pass_obj
def logs(
    app: App,
    component: str | None,
    since: float,
    limit: int,
    follow: bool,
    grep: str,
    where: tuple[tuple[str, str], ...],
    trace_id: str,
    source: str,
) -> int:
    """Show the recent lines of COMPONENT, a component of the stack, a service of obsctl.yaml or any Nomad job.

    With --trace or --where and without COMPONENT: the lines of all services that fit.

    Example: obsctl logs prometheus --since 1h --grep error
    """
    from obsctl.cli import wire

    if follow and app.ui.as_json:
        raise click.UsageError("--follow has no end, so there is no JSON document of it")
    if not (component or trace_id or where):
        raise click.UsageError("name a COMPONENT, a trace with --trace ID, or a field with --where FIELD=VALUE")
    config = app.loaded.config
    clients = wire.clients(config)
    namespace, job_id = _job(config, clients, component) if component else (config.nomad.namespace, "")
    start = int((SYSTEM_CLOCK.now() - since) * SECOND)
    view = _view(config, clients, Query(job_id, grep, trace_id, start, limit, where, namespace), source)
    app.ui.aside(f"from {TITLES[view.source]} at {view.address}{f': {view.reason}' if view.reason else ''}")
    origins = Origins()
    document = {"source": view.source, "reason": view.reason, "lines": [_document(line) for line in view.lines]}
    app.ui.result("logs", document, _rows(view.lines, origins))
    if not view.lines:
        app.ui.aside(_no_lines(view, component))
    return _follow(app, view, origins) if follow else 0


def _job(config: Config, clients: Clients, name: str) -> tuple[str, str]:
    """Namespace and id of the Nomad job behind a name: a component's, that of a service of obsctl.yaml, or its own."""
    from obsctl.config.catalog import ROWS

    own = config.nomad.namespace
    if name in ROWS:
        return own, names.job_id(config.stack, name)
    service = config.services.get(name)
    if service and (service.job or service.namespace):
        return service.namespace or own, service.job or name
    try:
        return own, str(clients.nomad.job(name)["ID"])
    except NotFound:
        there = ", ".join(sorted([*ROWS, *config.services]))
        what = f"no component, no service of obsctl.yaml and no Nomad job {name}; there are {there}"
        raise click.UsageError(what) from None


def _view(config: Config, clients: Clients, query: Query, source: str) -> LogView:
    from obsctl.cli import wire

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


def _no_lines(view: LogView, component: str | None) -> str:
    newest = view.tail.left_out if isinstance(view.tail, NomadTail) else None
    if newest:
        return f"no lines in this time; the newest is of {format_time(newest)}: ask for more with --since"
    return f"no lines{f' of {component}' if component else ''} in this time; --since 1h looks further back"


def _follow(app: App, view: LogView, origins: Origins) -> int:
    """Ctrl-C ends it, as it should: returns the exit code of that."""

    def warn(error: ObsctlError) -> None:
        app.ui.aside(f"{error.message}; waiting for it")

    try:
        for line in follow(view.tail, warn):
            app.ui.line(_rows([line], origins)[0])
    except KeyboardInterrupt:
        pass
    return Interrupted.exit_code


def _rows(lines: list[Line], origins: Origins) -> list[Row]:
    origins.notice(lines)
    return [pieces(line, origins.of(line)) for line in lines]


def _document(line: Line) -> Json:
    return {"time": format_time(line.at) if line.at else None, **asdict(line)}
