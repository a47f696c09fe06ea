"""Requests to hello-service as a user would send them. Needs no library of the demo but `requests`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from obsctl.demo.discovery import CALL_SECONDS, CONNECT_TIMEOUT, READ_TIMEOUT, get
from obsctl.errors import ApiError
from obsctl.wait import SYSTEM_CLOCK, Clock

OUTCOMES = ("ok", "failed", "unreachable")

# hello-service may wait for response-service, and in its last attempt also for Consul and a connection.
HELLO_TIMEOUT = CALL_SECONDS + (CONNECT_TIMEOUT + READ_TIMEOUT) + CONNECT_TIMEOUT + 1


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to GET /hello.

    outcome: ok (200), failed (any other answer) or unreachable (no healthy instance, no connection, no answer).
    answer: hello-service's message, or why there is none. trace_id: 32 hex digits; None when the answer has none.
    """

    outcome: str
    answer: str
    trace_id: str | None
    seconds: float


def visit(where: Callable[[], str], clock: Clock = SYSTEM_CLOCK) -> Visit:
    """Send one request. where: returns the base URL of an instance, or raises ApiError."""
    started = clock.monotonic()
    try:
        response = get(f"{where()}/hello", read_timeout=HELLO_TIMEOUT)
    except ApiError as error:
        return Visit("unreachable", error.message, None, clock.monotonic() - started)
    outcome = "ok" if response.status_code == 200 else "failed"
    trace_id = _trace_id(response.headers.get("traceresponse", ""))
    return Visit(outcome, _message(response), trace_id, clock.monotonic() - started)


def visits(where: Callable[[], str], *, number: int, rate: float, clock: Clock = SYSTEM_CLOCK) -> Iterator[Visit]:
    """Send `number` requests one after the other, at most `rate` a second."""
    slot = clock.monotonic()
    for _ in range(number):
        clock.sleep(max(0.0, slot - clock.monotonic()))
        slot = clock.monotonic() + 1 / rate
        yield visit(where, clock)


def _message(response: requests.Response) -> str:
    """The message or error in hello-service's JSON; the beginning of any other answer."""
    try:
        body: Any = response.json()
        return str(body["message"] if response.status_code == 200 else body["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code}: {response.text[:60]}"


def _trace_id(traceresponse: str) -> str | None:
    """The trace in the header's value: version-trace-span-flags."""
    match = re.fullmatch(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", traceresponse)
    return match[1] if match else None
