"""hello-service: answers GET /hello with a phrase that it gets from response-service."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry

from obsctl import names
from obsctl.clients.protocols import ConsulApi
from obsctl.demo import telemetry
from obsctl.demo.calls import Caller
from obsctl.demo.discovery import READ_TIMEOUT, Discovery, get
from obsctl.errors import ServerFailed
from obsctl.services.web import WebServer
from obsctl.services.web import create_app as create_web_app

VERSION = "1.0.0"


def create_app(discovery: Discovery, registry: CollectorRegistry) -> Flask:
    """The service. It is ready as soon as it listens, also without response-service: if it left Consul, nobody would
    call it, and its error ratio, which shows the fault, would be empty."""
    app = create_web_app(registry)
    telemetry.observe(app)
    metrics = telemetry.RequestMetrics("hello_service", registry)
    caller = Caller(names.RESPONSE_SERVICE, registry, "hello_service")

    @app.get("/hello")
    @metrics.measured
    def hello() -> ResponseReturnValue:
        phrase = caller.call(lambda seconds: ask_for_phrase(discovery, seconds))
        return {"message": f"Hello! {phrase}"}

    return app


def ask_for_phrase(discovery: Discovery, seconds: float) -> str:
    """A phrase from a healthy instance of response-service, which has `seconds` to answer.

    Raises Unreachable, TimedOut or ServerFailed.
    """
    url = f"{discovery.pick(names.RESPONSE_SERVICE)}/phrase"
    answer = get(url, read_timeout=min(seconds, READ_TIMEOUT))
    try:
        body: Any = answer.json()
        if answer.status_code == 200:
            return str(body["phrase"])
        reason = str(body["error"])
    except (ValueError, KeyError, TypeError):
        reason = "its answer has no JSON with a reason"
    raise ServerFailed(f"{url} answered {answer.status_code}: {reason}", hint="look at response-service's log")


def run(*, bind: str, port: int, consul: ConsulApi, stack: str | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    with telemetry.running(names.HELLO_SERVICE, VERSION):
        app = create_app(Discovery(consul, stack=stack), CollectorRegistry())
        WebServer(app, bind=bind, port=port).run_until_signalled()
