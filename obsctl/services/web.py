"""What our HTTP programs share: an app with /health, /alive and /metrics, and a server that stops gracefully."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from waitress import create_server, wasyncore
from werkzeug.exceptions import HTTPException

from obsctl.errors import ObsctlError, ServerFailed, TimedOut, Unreachable
from obsctl.model import host_and_port
from obsctl.services.connections import MAX_CONNECTIONS, Connections
from obsctl.wait import SYSTEM_CLOCK, Clock

DRAIN_SECONDS = 5.0
SETTLE_SECONDS = 0.5
MAX_BODY_BYTES = 1024 * 1024  # more is answered 413 by the app
MAX_SPOOL_BYTES = 2 * MAX_BODY_BYTES  # more is answered 413 before the app is asked
# A call that waits for a dead neighbour holds its thread for seconds; /health and /metrics must not queue behind it.
THREADS = 32
IN_MEMORY = 64 * 1024  # of a request's body, and of an answer that its client has not read yet; the rest is a file
LIMITS = {
    "threads": THREADS,
    "max_request_header_size": 32 * 1024,
    "max_request_body_size": MAX_SPOOL_BYTES,
    "recv_bytes": IN_MEMORY,
    "inbuf_overflow": IN_MEMORY,
    "outbuf_overflow": IN_MEMORY,
    "outbuf_high_watermark": MAX_BODY_BYTES,  # an answer that is made piece by piece waits for its reader here
    "connection_limit": 2 * MAX_CONNECTIONS,  # see connections: it is reached only when we work on that many requests
}

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_HTTP_STATUS = ((Unreachable, 503), (TimedOut, 503), (ServerFailed, 502))
_log = logging.getLogger("obsctl")


def create_app(registry: CollectorRegistry, *, why_not_ready: Callable[[], str] = lambda: "") -> Flask:
    """A Flask app with /health, /alive and /metrics, whose errors are JSON.

    why_not_ready: the reason in a sentence, "" when ready; asked at each /health.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    ProcessCollector(registry=registry)

    @app.get("/alive")
    def alive() -> ResponseReturnValue:
        return {"status": "alive"}

    @app.get("/health")
    def health() -> ResponseReturnValue:
        reason = why_not_ready()
        return ({"status": "not ready", "reason": reason}, 503) if reason else {"status": "ready"}

    @app.get("/metrics")
    def metrics() -> ResponseReturnValue:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    app.register_error_handler(ObsctlError, _failed)
    app.register_error_handler(HTTPException, _refused)
    return app


def _failed(error: ObsctlError) -> ResponseReturnValue:
    _log.warning("%s %s: %s", request.method, request.path, error.message)
    status = next((status for kind, status in _HTTP_STATUS if isinstance(error, kind)), 500)
    return {"error": error.message, "hint": error.hint}, status


def _refused(error: HTTPException) -> ResponseReturnValue:
    return {"error": error.description}, error.code or 500


class WebServer:
    """Serves a WSGI app until `stop`, then accepts nothing new and finishes what it has.

    Raises ObsctlError when it cannot listen on `bind`:`port`; port 0 takes a free one.
    """

    def __init__(self, app: Flask, *, bind: str, port: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._sockets: dict[int, Any] = {}
        self._clock = clock
        self._connections = Connections(clock)
        self._stopping = False  # a plain flag: a lock could deadlock in a signal handler
        try:
            self._listener = create_server(app, map=self._sockets, host=bind, port=port, ident=None, **LIMITS)
        except (OSError, ValueError) as error:
            raise ObsctlError(
                f"cannot listen on {host_and_port(bind, port)}: {error}",
                hint="choose a free --port, and a --bind address that this machine has",
            ) from error
        self.port = int(self._listener.effective_port)
        _log.info("listens on http://%s", host_and_port(bind, self.port))

    def run_until_signalled(self) -> None:
        """`run`, until SIGTERM or SIGINT. For the main thread of a program that ends with it: a second signal, however
        late, must not make a good end look like a crash."""
        try:
            for number in _STOP_SIGNALS:
                signal.signal(number, lambda *_: self.stop())
            self.run()
        finally:
            for number in _STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    def run(self) -> None:
        """Answer requests until `stop` is called, then drain."""
        try:
            while not self._stopping:
                self._turn(timeout=1.0)
            self._drain()
        finally:
            wasyncore.close_all(self._sockets, ignore_all=True)

    def stop(self) -> None:
        """Ask `run` to drain and return. May be called from any thread and from a signal handler."""
        self._stopping = True
        with suppress(OSError):  # `run` has seen the flag already, and closed everything
            self._listener.pull_trigger()

    def _turn(self, timeout: float) -> None:
        self._connections.look(list(self._listener.active_channels.values()))
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)

    def _drain(self) -> None:
        _log.info("stops: finishes what is under way")
        self._accept_the_waiting()
        wasyncore.dispatcher.close(self._listener)
        self._listener.add_task = self._start_last_task
        for channel in self._listener.active_channels.values():
            _answer_with_connection_close(channel)
        deadline = self._clock.monotonic() + DRAIN_SECONDS
        while (busy := self._busy_channels()) and self._clock.monotonic() < deadline:
            self._turn(timeout=0.1)
        if busy:
            _log.warning("%d connections were cut after %g s", len(busy), DRAIN_SECONDS)

    def _accept_the_waiting(self) -> None:
        """Closing a listening socket resets the connections that the kernel has accepted and we have not."""
        waiting = -1
        while len(self._listener.active_channels) > waiting:
            waiting = len(self._listener.active_channels)
            self._listener.handle_accept()

    def _start_last_task(self, channel: Any) -> None:
        """What the listener does with a request that is read from now on."""
        _answer_with_connection_close(channel)
        self._listener.task_dispatcher.add_task(channel)

    def _busy_channels(self) -> list[Any]:
        """Connections with a request or an answer under way, or just used, so that a request may be on its way."""
        settled = self._clock.now() - SETTLE_SECONDS
        return [each for each in self._listener.active_channels.values()
                if each.request or each.requests or each.total_outbufs_len or each.last_activity > settled]  # fmt: skip


def _answer_with_connection_close(channel: Any) -> None:
    """Tell a keep-alive client, by the answer to its request, that there will be no other on this connection."""
    for pending in list(channel.requests):
        pending.headers["CONNECTION"] = "close"
