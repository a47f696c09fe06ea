"""A trace as a tree in the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.options import as_seconds, as_trace_id
from obsctl.errors import DeadlineExceeded, ObsctlError
from obsctl.model import Json
from obsctl.telemetry import trace_view
from obsctl.telemetry.lines import Line
from obsctl.telemetry.search import TraceQuery, by_id, newest
from obsctl.telemetry.stored_logs import of_trace
from obsctl.telemetry.trace import Trace
from obsctl.wait import SYSTEM_CLOCK, wait_until

if TYPE_CHECKING:
    from obsctl.clients.programs import Clients
    from obsctl.clients.protocols import JaegerApi
    from obsctl.ui import Row

MOST_LINES = 1000
_LOGS_LOOK_BACK = 10 * 60.0
"""Seconds; `obsctl logs` by itself looks back somewhat further."""
_ARRIVES = "spans arrive some seconds after the request: --wait 30s waits longer for them"


@click.command()
@click.argument("trace_id", callback=as_trace_id, required=False, metavar="[ID]")
@click.option("--last", is_flag=True, help="The newest trace.")
@click.option("--service", metavar="NAME", help="With --last: one with a span of this service.")
@click.option("--errors", is_flag=True, help="With --last: one with a span that failed.")
@click.option("--min-duration", callback=as_seconds, default="0s", metavar="TIME", help="With --last: a slow one.")
@click.option("--since", callback=as_seconds, default="1h", show_default=True, metavar="TIME", help="How far back.")
@click.option("--logs", "with_logs", is_flag=True, help="Show its log lines below their spans.")
@click.option(
    "--wait", callback=as_seconds, default="5s", show_default=True, metavar="TIME", help="For spans on their way."
)
@click.pass_obj
def trace(
    app: App,
    trace_id: str,
    last: bool,
    service: str | None,
    errors: bool,
    min_duration: float,
    since: float,
    with_logs: bool,
    wait: float,
) -> None:
    """Show a trace as a tree: what called what, when and how long, and what failed.

    The bars show when in the trace a span ran. With -v each span's attributes are shown too.

    Example: obsctl trace --last --errors --logs
    """
    from obsctl.cli import wire

    if bool(trace_id) == last:
        raise click.UsageError("give the ID of a trace, or --last for the newest one" + (", not both" if last else ""))
    if trace_id and (service or errors):
        raise click.UsageError("--service and --errors look for a trace; they go with --last, not with an ID")
    clients = wire.clients(app.loaded.config)
    jaeger = clients.programs.jaeger
    query = TraceQuery(service, since, errors, min_duration)
    shown = _by_id(jaeger, trace_id, wait) if trace_id else _newest(jaeger, query, wait)
    lines = _lines(app, clients, shown) if with_logs else []
    app.ui.result("trace", _document(shown, lines, jaeger), _text(app, shown, lines, jaeger))


def _by_id(jaeger: JaegerApi, trace_id: str, wait: float) -> Trace:
    trace = by_id(jaeger, trace_id, wait=wait)
    if trace is None:
        waited = f" after {wait:g} s" if wait else ""
        hint = f"{_ARRIVES}; obsctl trace --last shows the newest trace"
        raise ObsctlError(f"Jaeger at {jaeger.address} has no trace {trace_id}{waited}", hint=hint)
    return trace


def _newest(jaeger: JaegerApi, query: TraceQuery, wait: float) -> Trace:
    looked_at = 0

    def probe() -> Trace | None:
        nonlocal looked_at
        trace, looked_at = newest(jaeger, query)
        return trace

    try:
        trace = wait_until(probe, timeout=wait, failure="no such trace arrived", hint=_ARRIVES, interval=1.0)
    except DeadlineExceeded:
        raise _no_trace(jaeger, query, looked_at) from None
    return by_id(jaeger, trace.trace_id, wait=wait) or trace  # the newest of all is often not complete yet


def _no_trace(jaeger: JaegerApi, query: TraceQuery, looked_at: int) -> ObsctlError:
    from obsctl.config.durations import format_duration

    services = jaeger.services()
    if query.service and query.service not in services:
        names = ", ".join(services) or "none yet"
        message = f"Jaeger at {jaeger.address} has no spans of {query.service}; the services are: {names}"
        return ObsctlError(message, hint=_ARRIVES)
    last = f"the last {format_duration(query.max_age)}"
    if looked_at:
        message = f"none of the newest {looked_at} traces of {last} has a failed span"
        return ObsctlError(message, hint="leave out --errors, or look further back with --since")
    of = f" of {query.service}" if query.service else ""
    slow = f" with a span of {format_duration(query.min_duration)} or more" if query.min_duration else ""
    message = f"Jaeger at {jaeger.address} has no trace{of}{slow} of {last}"
    return ObsctlError(message, hint=f"{_ARRIVES}; --since looks further back")


def _lines(app: App, clients: Clients, trace: Trace) -> list[Line]:
    """Its log lines; without them the tree is still worth showing."""
    from obsctl.cli import wire

    try:
        store = wire.log_store(app.loaded.config, clients.programs)
        return of_trace(store, trace.trace_id, trace.start, trace.end, limit=MOST_LINES)
    except ObsctlError as error:
        app.ui.aside(f"no log lines: {error.message}")
        return []


def _text(app: App, trace: Trace, lines: list[Line], jaeger: JaegerApi) -> list[Row]:
    rows = trace_view.draw(trace, width=app.ui.width(), lines=lines, attributes=app.ui.verbosity > 0)
    logs = [f"Logs:   obsctl logs --trace {trace.trace_id}{_since(trace)}"]
    foot = [*([] if app.loaded.config.logs.endpoint else logs), f"Jaeger: {_page(trace, jaeger)}"]
    drawn = [trace_view.head(trace), *map(_without_tail, rows), [], trace_view.summary(trace)]
    return [*drawn, *([(text, None)] for text in foot)]


def _without_tail(row: Row) -> Row:
    """Without the white space that fills the columns."""
    *before, (text, style) = row or [("", None)]
    return [*before, (text.rstrip(), style)] if text.strip() or not before else _without_tail(before)


def _since(trace: Trace) -> str:
    """How far `obsctl logs` must look back, where that is further than it does by itself."""
    age = SYSTEM_CLOCK.now() - trace.start / 1e9
    return f" --since {int(age // 3600) + 1}h" if age > _LOGS_LOOK_BACK else ""


def _document(trace: Trace, lines: list[Line], jaeger: JaegerApi) -> Json:
    spans = [
        {**asdict(branch.span), "depth": branch.depth, "orphan": branch.orphan, "errors": branch.span.errors}
        for branch in trace.branches
    ]
    return {
        "trace_id": trace.trace_id,
        "start": trace.start,
        "duration_ms": trace.duration / 1e6,
        "services": trace.services,
        "errors": len(trace.failed),
        "orphans": trace.orphans,
        "jaeger": _page(trace, jaeger),
        "spans": spans,
        "lines": [asdict(line) for line in lines],
    }


def _page(trace: Trace, jaeger: JaegerApi) -> str:
    return f"{jaeger.address}/trace/{trace.trace_id}"
