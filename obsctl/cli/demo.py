"""`obsctl demo`: the demo services on the cluster, and requests to them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.deploy import deploy
from obsctl.cli.options import Group, deploys
from obsctl.model import Json

if TYPE_CHECKING:
    from obsctl.demo.visits import Visit


@click.group(cls=Group)
def demo() -> None:
    """Two small services and their traffic, to try obsctl on.

    Example: obsctl demo up
    """


@demo.command()
@click.option("--fixed", is_flag=True, help="Without the planted bug of the tutorial.")
@deploys
@click.pass_context
def up(ctx: click.Context, fixed: bool, yes: bool, timeout: float) -> None:
    """Deploy the stack with the demo: hello-service, response-service and traffic.

    It is `obsctl deploy` with demo.enabled: true, and with --fixed demo.fixed: true, for this run. The next
    `obsctl deploy` follows obsctl.yaml again.

    Example: obsctl demo up --fixed
    """
    _deploy(ctx, {"enabled": True, **({"fixed": True} if fixed else {})}, yes, timeout)


@demo.command()
@deploys
@click.pass_context
def down(ctx: click.Context, yes: bool, timeout: float) -> None:
    """Stop the demo's jobs, and remove its alert rules.

    It is `obsctl deploy` with demo.enabled: false for this run. The phrases in Consul stay.

    Example: obsctl demo down --yes
    """
    _deploy(ctx, {"enabled": False}, yes, timeout)


def _deploy(ctx: click.Context, settings: dict[str, bool], yes: bool, timeout: float) -> None:
    """Deploy with these keys of `demo`, whatever the file says. If it says otherwise, tell."""
    app: App = ctx.obj
    configured = app.loaded.config.demo
    ctx.obj = replace(app, settings={("demo", key): value for key, value in settings.items()})
    ctx.invoke(deploy, components=(), yes=yes, timeout=timeout)
    if any(getattr(configured, key) != value for key, value in settings.items()):
        keep = ", ".join(f"{key}: {str(value).lower()}" for key, value in settings.items())
        app.ui.say(f"The next `obsctl deploy` undoes this, unless obsctl.yaml says demo: {{{keep}}}", style="yellow")


@demo.command()
@click.option("-n", "--count", "number", type=click.IntRange(1, 10_000), default=20, show_default=True,
              help="How many requests.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(0, 100, min_open=True), default=5.0, show_default=True,
              metavar="PER_SECOND", help="At most so many a second; one waits for the other.")  # fmt: skip
@click.pass_obj
def traffic(app: App, number: int, rate: float) -> int:
    """Send requests to hello-service from here: what it answered, how often, and a trace of each answer.

    Exit 1 when a request failed.

    Example: obsctl demo traffic --count 50
    """
    from obsctl.cli import wire
    from obsctl.demo.visits import OUTCOMES, visits

    config = app.loaded.config
    address = wire.clients(config).programs.hello_service
    results = list(visits(lambda: address, number=number, rate=rate))
    outcomes = {outcome: sum(visit.outcome == outcome for visit in results) for outcome in OUTCOMES}
    answers = _answers(results)
    rows = [[_shown(each["answer"]), each["requests"], each["outcome"], each["trace_id"] or "-"] for each in answers]
    text = app.ui.table(["ANSWER", "REQUESTS", "OUTCOME", "A TRACE OF IT"], rows)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    document = {"address": address, "requests": number, "outcomes": outcomes, "answers": answers}
    app.ui.result("demo-traffic", document, f"{text}\n{number} requests to {address}/hello: {counts}")
    return int(outcomes["ok"] < number)


def _answers(results: list[Visit]) -> list[Json]:
    """Each distinct answer, the most frequent first, with its oldest trace, which has most likely arrived."""
    traces = {(visit.outcome, visit.answer): visit.trace_id for visit in reversed(results)}
    counted = Counter((visit.outcome, visit.answer) for visit in results)
    return [
        {"answer": answer, "outcome": outcome, "requests": count, "trace_id": traces[outcome, answer]}
        for (outcome, answer), count in counted.most_common()
    ]


def _shown(answer: str) -> str:
    """In quotes, so that readers see an answer that ends too early."""
    return json.dumps(answer, ensure_ascii=False)
