"""response-service: answers GET /phrase with a random phrase from the Consul key `minion_phrases`.

Version 1.0.0 has a planted bug, for docs/tutorial-find-the-bug.md. Version 1.0.1 does not have it.
"""

from __future__ import annotations

import json
import random
from itertools import count

from flask import Flask
from flask.typing import ResponseReturnValue
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from prometheus_client import CollectorRegistry

from obsctl import names
from obsctl.clients.protocols import ConsulApi
from obsctl.demo import telemetry
from obsctl.errors import NotFound, ObsctlError
from obsctl.services.web import WebServer
from obsctl.services.web import create_app as create_web_app

VERSION, FIXED_VERSION = "1.0.0", "1.0.1"
SONG_EVERY = 5
_HINT = """consul kv put {key} '["Bello!", "Poopaye!"]'"""


class Phrases:
    """The source of the answers. fixed: without the planted bug."""

    def __init__(self, consul: ConsulApi, *, fixed: bool) -> None:
        self._consul = consul
        self._fixed = fixed
        self._requests = count(1)

    def next(self) -> str:
        """The next answer. Raises ObsctlError when there is none."""
        if self._fixed or next(self._requests) % SONG_EVERY:
            return self._pick(names.DEMO_PHRASES_KEY)
        return self._song()

    def _song(self) -> str:
        """The planted bug: an error becomes an empty answer, which metrics count as success. Only the span shows it."""
        try:
            return self._pick(names.DEMO_SONGS_KEY)
        except ObsctlError as error:
            span = trace.get_current_span()
            span.record_exception(error)
            span.set_status(trace.StatusCode.ERROR, error.message)
            return ""

    def _pick(self, key: str) -> str:
        trace.get_current_span().set_attribute("phrases.key", key)
        return random.choice(read_phrases(self._consul, key))


def create_app(consul: ConsulApi, registry: CollectorRegistry, *, fixed: bool = False) -> Flask:
    """The service. It is ready while the phrases can be read."""
    app = create_web_app(registry, why_not_ready=lambda: _why_no_phrases(consul))
    telemetry.observe(app)
    metrics = telemetry.RequestMetrics("response_service", registry)
    phrases = Phrases(consul, fixed=fixed)

    @app.get("/phrase")
    @metrics.measured
    def phrase() -> ResponseReturnValue:
        return {"phrase": phrases.next()}

    return app


def read_phrases(consul: ConsulApi, key: str = names.DEMO_PHRASES_KEY) -> list[str]:
    """The phrases as they are in Consul now, at least one. Raises ObsctlError when there are none."""
    pair = consul.get(key)
    if pair is None:
        raise NotFound(f"Consul has no key {key}", hint=_HINT.format(key=key))
    try:
        phrases = json.loads(pair.value)
    except (ValueError, RecursionError):
        phrases = None
    if not isinstance(phrases, list) or not phrases or not all(isinstance(phrase, str) for phrase in phrases):
        raise ObsctlError(f"the Consul key {key} is not a JSON list of strings", hint=_HINT.format(key=key))
    return phrases


def _why_no_phrases(consul: ConsulApi) -> str:
    try:
        with suppress_instrumentation():  # a probe is no request, so it makes no trace
            read_phrases(consul)
    except ObsctlError as error:
        return error.message
    return ""


def run(*, bind: str, port: int, consul: ConsulApi, fixed: bool) -> None:
    """Serve until SIGTERM or SIGINT. fixed: without the planted bug."""
    with telemetry.running(names.RESPONSE_SERVICE, FIXED_VERSION if fixed else VERSION):
        app = create_app(consul, CollectorRegistry(), fixed=fixed)
        WebServer(app, bind=bind, port=port).run_until_signalled()
