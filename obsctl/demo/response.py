"""response-service: answers GET /phrase with a random phrase from the Consul key `minion_phrases`."""

from __future__ import annotations

import json
import random

from flask import Flask
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry

from obsctl.demo.discovery import Consul
from obsctl.demo.metrics import RequestMetrics
from obsctl.errors import NotFound, ObsctlError
from obsctl.services.web import Server
from obsctl.services.web import create_app as create_web_app

NAME = "response-service"
PHRASES_KEY = "minion_phrases"
_HINT = f"""consul kv put {PHRASES_KEY} '["Bello!", "Poopaye!"]'"""


def create_app(consul: Consul, registry: CollectorRegistry) -> Flask:
    """The service. It is ready while the phrases can be read."""
    app = create_web_app(registry, why_not_ready=lambda: _why_no_phrases(consul))
    metrics = RequestMetrics("response_service", registry)

    @app.get("/phrase")
    @metrics.measured
    def phrase() -> ResponseReturnValue:
        return {"phrase": random.choice(read_phrases(consul))}

    return app


def read_phrases(consul: Consul) -> list[str]:
    """The phrases as they are in Consul now, at least one. Raises ObsctlError when there are none to be had."""
    try:
        phrases = json.loads(consul.value(PHRASES_KEY))
    except NotFound as error:
        raise NotFound(f"Consul has no key {PHRASES_KEY}", hint=_HINT) from error
    except (ValueError, RecursionError):
        phrases = None
    if not isinstance(phrases, list) or not phrases or not all(isinstance(one, str) for one in phrases):
        raise ObsctlError(f"the Consul key {PHRASES_KEY} is not a JSON list of strings", hint=_HINT)
    return phrases


def _why_no_phrases(consul: Consul) -> str:
    try:
        read_phrases(consul)
    except ObsctlError as error:
        return error.message
    return ""


def run(*, bind: str, port: int, consul: Consul) -> None:
    """Serve until SIGTERM or SIGINT."""
    app = create_app(consul, CollectorRegistry())
    Server(app, bind=bind, port=port).run_until_signalled()
