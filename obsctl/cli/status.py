"""The state of each component."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from obsctl.cli import status_words
from obsctl.cli.app import App
from obsctl.cli.status_changes import Changes
from obsctl.errors import ApiError, Interrupted, ObsctlError
from obsctl.ui import Ui
from obsctl.wait import SYSTEM_CLOCK

if TYPE_CHECKING:
    from obsctl.clients.programs import Clients
    from obsctl.stack.status import ComponentStatus, Drift, StackStatus

_COLUMNS = ("COMPONENT", "STATE", "RUNNING", "NODE", "CHECKS", "TARGETS", "VERSION", "DRIFT", "ADDRESS")
_DISPENSABLE = ("VERSION", "CHECKS", "NODE", "TARGETS", "DRIFT", "ADDRESS")
"""What a narrow terminal does without, in this order."""
_NAMED = (None, 2, 1)
"""How many nodes of a component are named, at most; None: all of them."""


_EVERY = 2.0
"""Seconds between two looks."""
_DRIFT_EVERY = 30.0
"""Seconds: for drift Nomad plans every job."""


@click.command()
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C; in a pipe one line for each change.")
@click.pass_obj
def status(app: App, watch: bool) -> int:
    """Show what runs of each component, where, and what is wrong.

    VERSION is the obsctl that made the job, not the program's; DRIFT tells whether the job differs from obsctl.yaml.

    Exit 1 when a component is not healthy, nothing answers on a node that was not drained before, Prometheus does
    not answer or scrapes nothing, or a rule cannot be evaluated.

    Example: obsctl status --watch
    """
    if watch and app.ui.as_json:
        raise click.UsageError("--watch has no end, so there is no JSON document of it")
    look = _looker(app)
    if watch:
        return _watch(app, look)
    state = look()
    app.ui.result("status", _document(state), _text(app, state), version=3)
    return 0 if state.healthy else 1


def _looker(app: App) -> Callable[[], StackStatus]:
    """Looks at the stack; at its drift now and then alone."""
    from obsctl.cli import wire
    from obsctl.stack.status import status as read_status

    config, clients = app.loaded.config, wire.clients(app.loaded.config)
    drifts: list[tuple[float, Drift]] = []

    def look() -> StackStatus:
        now = SYSTEM_CLOCK.monotonic()
        if not drifts or now - drifts[-1][0] > _DRIFT_EVERY:
            drifts[:] = [(now, _drift(app, clients))]
        return read_status(config, clients, drift=drifts[-1][1])

    return look


def _drift(app: App, clients: Clients) -> Drift:
    from obsctl.stack import deployment
    from obsctl.stack.render import render
    from obsctl.stack.status import Drift

    try:
        return Drift(deployment.drift(render(app.loaded.config, app.loaded.root), clients))
    except ObsctlError as error:
        return Drift({}, unknown=error.message)


def _watch(app: App, look: Callable[[], StackStatus]) -> int:
    """Ctrl-C ends it, as it should: returns the exit code of that."""
    with suppress(KeyboardInterrupt):
        if app.ui.is_live():
            with app.ui.redrawn() as draw:
                _repeat(look, lambda state: draw(_text(app, state)), draw)
        changes = Changes(lambda words: app.ui.line([(f"{_time()} {words}", None)]), app.ui.aside)
        _repeat(look, changes.look, changes.lack)
    return Interrupted.exit_code


def _repeat(look: Callable[[], StackStatus], show: Callable[[StackStatus], None], warn: Callable[[str], None]) -> None:
    """Has no end. A server that does not answer is waited for."""
    while True:
        try:
            show(look())
        except ApiError as error:
            warn(f"{error.message}; waiting for it")
        SYSTEM_CLOCK.sleep(_EVERY)


def _time() -> str:
    return datetime.fromtimestamp(SYSTEM_CLOCK.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(state: StackStatus) -> dict[str, object]:
    components = [{**asdict(each), "address": each.address} for each in state.components]
    return {"healthy": state.healthy, "faults": state.faults, **asdict(state), "components": components}


def _text(app: App, state: StackStatus) -> str:
    width = app.ui.width()
    for table in _tables(app.ui, state):
        if max(map(len, table.splitlines())) <= width:
            break
    head, *lines = table.splitlines()
    for line, component in zip(lines, state.components, strict=True):
        head += "\n" + "\n".join([line, *(_wrapped(remark, width) for remark in _remarks(component))])
    return "\n".join([head, "", *(_wrapped(sentence, width, indent="") for sentence in _summary(state))])


def _tables(ui: Ui, state: StackStatus) -> Iterator[str]:
    """Narrower and narrower ones: first with fewer names of nodes, then with fewer columns."""
    shown = list(_COLUMNS)
    for column in ("", *_DISPENSABLE):
        shown = [name for name in shown if name != column]
        for limit in _NAMED:
            rows = [dict(zip(_COLUMNS, _cells(component, limit), strict=True)) for component in state.components]
            yield ui.table(shown, [[row[name] for name in shown] for row in rows])


def _cells(component: ComponentStatus, limit: int | None) -> Iterator[str]:
    scraping = component.scraping
    passing, checks = status_words.checks(component)
    yield component.component
    yield component.state
    yield f"{component.running}/{component.wanted}"
    yield status_words.node_names(component, limit) or "-"
    yield f"{passing}/{checks}"
    yield f"{scraping.up}/{scraping.targets}" if scraping else "-"
    yield component.version or "-"
    yield "?" if component.drift is None else "yes" if component.drift else "-"
    yield component.address or "-"


def _remarks(component: ComponentStatus) -> Iterator[str]:
    if component.note:
        yield component.note
    for each in component.replaced:
        yield status_words.earlier(each)
    yield from map(status_words.differs, component.drift or ())


def _summary(state: StackStatus) -> Iterator[str]:
    if state.drift:
        yield from filter(None, [status_words.unknown(state.drift), *map(status_words.differs, state.drift.of_none)])
    if state.scraping and state.evaluation:
        targets = status_words.targets(state.scraping, is_starting=state.is_starting)
        yield f"Prometheus: {targets}; {status_words.rules(state.evaluation)}."
    for node in state.nodes:
        if node.is_closed:
            yield f"No fault: {node.words}."
    for sentence in state.faults:
        yield f"Fault: {sentence}"


def _wrapped(text: str, width: int, indent: str = "    ") -> str:
    plain = " ".join(text.split())
    return textwrap.fill(plain, max(width, 40), initial_indent=indent, subsequent_indent=indent)
