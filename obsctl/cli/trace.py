"""A trace as a tree in the terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from obsctl.cli.app import App
from obsctl.cli.options import as_seconds, as_trace_id
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.cli.wire import Clients
    from obsctl.clients.protocols import JaegerApi
    from obsctl.config.schema import Config
    from obsctl.telemetry.lines import Line
    from obsctl.telemetry.search import Wanted
    from obsctl.telemetry.trace import Trace

MOST_LINES = 1000
_LOGS_LOOK_BACK = 10 * 60.0
"""Seconds; `obsctl logs` by itself looks back somewhat further."""
_ARRIVES = "spans arrive some seconds after the request: --wait 30s waits longer for them"


@dataclass(frozen=True)
class Search:
    """The options of --last."""

    service: str | None
    errors: bool
    min_duration: float
    since: float


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
def trace(app: App, /, trace_id: str, last: bool, with_logs: bool, wait: float, **search: Any) -> None:
    """Show a trace as a tree: what called what, when and how long, and what failed.

    The bars show when in the trace a span ran. With -v each span's attributes are shown too.

    Example: obsctl trace --last --errors --logs
    """
    from obsctl.cli import wire

    _refuse_half(trace_id, last, **search)
    config = app.loaded.config
    clients = wire.clients(config)
    jaeger = clients.programs.jaeger
    found = _by_id(jaeger, trace_id, wait) if trace_id else _newest(jaeger, Search(**search), wait)
    lines = _lines(app, config, clients, found) if with_logs else []
    app.ui.result("trace", _document(found, lines, jaeger), _text(app, found, lines, jaeger))


def _refuse_half(trace_id: str, last: bool, *, service: str | None, errors: bool, **_: float) -> None:
    if bool(trace_id) == last:
        raise click.UsageError("give the ID of a trace, or --last for the newest one" + (", not both" if last else ""))
    if trace_id and (service or errors):
        raise click.UsageError("--service and --errors look for a trace; they go with --last, not with an ID")


def _by_id(jaeger: JaegerApi, trace_id: str, wait: float) -> Trace:
    from obsctl.telemetry.search import by_id

    found = by_id(jaeger, trace_id, wait=wait)
    if found is None:
        waited = f" after {wait:g} s" if wait else ""
        hint = f"{_ARRIVES}; obsctl trace --last shows the newest trace"
        raise ObsctlError(f"Jaeger at {jaeger.address} has no trace {trace_id}{waited}", hint=hint)
    return found


def _newest(jaeger: JaegerApi, search: Search, wait: float) -> Trace:
    from obsctl.errors import DeadlineExceeded
    from obsctl.telemetry.search import by_id, newest
    from obsctl.wait import wait_until

    looked_at = 0

    def probe() -> Trace | None:
        nonlocal looked_at
        found, looked_at = newest(jaeger, _wanted(jaeger, search))
        return found

    try:
        found = wait_until(probe, timeout=wait, failure="no such trace arrived", hint=_ARRIVES, interval=1.0)
    except DeadlineExceeded:
        raise _none(jaeger, search, looked_at) from None
    return by_id(jaeger, found.trace_id, wait=wait) or found  # the newest of all is often not complete yet


def _wanted(jaeger: JaegerApi, search: Search) -> Wanted:
    from obsctl.telemetry.search import Wanted
    from obsctl.wait import SYSTEM_CLOCK

    services = [search.service] if search.service else jaeger.services()
    now = SYSTEM_CLOCK.now()
    return Wanted(services, now - search.since, now + 60, search.errors, search.min_duration)


def _none(jaeger: JaegerApi, search: Search, looked_at: int) -> ObsctlError:
    from obsctl.config.durations import format_duration

    known = jaeger.services()
    if search.service and search.service not in known:
        names = ", ".join(known) or "none yet"
        message = f"Jaeger at {jaeger.address} has no spans of {search.service}; the services are: {names}"
        return ObsctlError(message, hint=_ARRIVES)
    since = format_duration(search.since)
    if looked_at:
        message = f"none of the newest {looked_at} traces of the last {since} has a failed span"
        return ObsctlError(message, hint="leave out --errors, or look further back with --since")
    of = f" of {search.service}" if search.service else ""
    slow = f" with a span of {format_duration(search.min_duration)} or more" if search.min_duration else ""
    message = f"Jaeger at {jaeger.address} has no trace{of}{slow} of the last {since}"
    return ObsctlError(message, hint=f"{_ARRIVES}; --since looks further back")


def _lines(app: App, config: Config, clients: Clients, found: Trace) -> list[Line]:
    """Its log lines; without them the tree is still worth showing."""
    from obsctl.cli import wire
    from obsctl.telemetry.stored_logs import of_trace

    try:
        return of_trace(
            wire.log_store(config, clients.programs), found.trace_id, found.start, found.end, limit=MOST_LINES
        )
    except ObsctlError as error:
        app.ui.aside(f"no log lines: {error.message}")
        return []


def _text(app: App, found: Trace, lines: list[Line], jaeger: JaegerApi) -> str:
    from obsctl.telemetry import trace_view

    rows = trace_view.draw(found, width=app.ui.width(), lines=lines, attributes=app.ui.verbosity > 0)
    tree = [app.ui.paint(row).rstrip() for row in [trace_view.head(found), *rows]]
    logs = [f"Logs:   obsctl logs --trace {found.trace_id}{_since(found)}"]
    foot = [*([] if app.loaded.config.logs.endpoint else logs), f"Jaeger: {_page(found, jaeger)}"]
    return "\n".join([*tree, "", app.ui.paint(trace_view.summary(found)), *foot])


def _since(found: Trace) -> str:
    """How far `obsctl logs` must look back, where that is further than it does by itself."""
    from obsctl.wait import SYSTEM_CLOCK

    age = SYSTEM_CLOCK.now() - found.start / 1e9
    return f" --since {int(age // 3600) + 1}h" if age > _LOGS_LOOK_BACK else ""


def _document(found: Trace, lines: list[Line], jaeger: JaegerApi) -> dict[str, Any]:
    spans = [
        {**asdict(branch.span), "depth": branch.depth, "orphan": branch.orphan, "errors": branch.span.errors}
        for branch in found.branches
    ]
    return {
        "trace_id": found.trace_id,
        "start": found.start,
        "duration_ms": found.duration / 1e6,
        "services": found.services,
        "errors": len(found.failed),
        "orphans": found.orphans,
        "jaeger": _page(found, jaeger),
        "spans": spans,
        "lines": [asdict(line) for line in lines],
    }


def _page(found: Trace, jaeger: JaegerApi) -> str:
    return f"{jaeger.address}/trace/{found.trace_id}"
