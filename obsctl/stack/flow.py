"""Does telemetry flow: what goes in at an agent must come out of Jaeger and of the log store.

Like the alert path, this is looked at as a whole: five healthy programs are not yet a working road.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from obsctl.clients.protocols import JaegerApi, LogsApi, OtlpApi
from obsctl.model import Emit
from obsctl.stack.verify import wait_complete
from obsctl.telemetry.stored_logs import of_trace
from obsctl.wait import SYSTEM_CLOCK, Clock

SERVICE = "obsctl"
"""The service.name of what is sent: one span and one log line for each look."""


def wait_flowing(
    agent: OtlpApi,
    jaeger: JaegerApi | None,
    logs: LogsApi | None,
    *,
    emit: Emit,
    timeout: float,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Send a span and a log line, and wait until both are found; None is a backend that the stack does not have.

    An agent that reads its configuration anew takes nothing for a moment, so what it refuses is sent again.
    timeout: seconds. Raises ObsctlError that says what did not arrive.
    """
    ids = {"trace_id": secrets.token_hex(16), "span_id": secrets.token_hex(8)}
    sent_at = clock.now()
    unsent: list[Callable[[], None]] = []
    if jaeger:
        unsent.append(lambda: agent.send_span(SERVICE, "verify", **ids, at=sent_at))
    if logs:
        unsent.append(lambda: agent.send_line(SERVICE, "telemetry flows", **ids, at=sent_at))

    def missing() -> Iterator[str]:
        while unsent:
            unsent[0]()
            del unsent[0]
        if jaeger and not jaeger.trace(ids["trace_id"]):
            yield f"Jaeger does not have the trace {ids['trace_id']}, which was sent to {agent.address}"
        if logs and not _has_line(logs, ids["trace_id"], sent_at):
            yield f"VictoriaLogs does not have the line of trace {ids['trace_id']}, which was sent to {agent.address}"

    wait_complete(
        "telemetry path",
        lambda: list(missing()),
        "for a span and a log line of our own",
        emit=emit,
        timeout=timeout,
        clock=clock,
    )


def _has_line(logs: LogsApi, trace_id: str, sent_at: float) -> bool:
    at = int(sent_at * 1e9)
    return bool(of_trace(logs, trace_id, at, at, limit=1))
