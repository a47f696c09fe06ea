"""Spans and lines that are sent to every agent without end, and which of them no store has afterwards."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from obsctl.clients.instances import url
from obsctl.errors import ApiError
from obsctl.local import members, processes
from obsctl.wait import wait_until
from tests.deployed import Stack
from tests.deployed_telemetry import Telemetry, repeating
from tests.otlp import records, send_logs, send_spans, span


@dataclass
class Sender:
    """Sends spans and lines of its own to the agent of a machine. spans, lines: the ids of what that has acknowledged.

    refused: the longest time in which it acknowledged nothing, in seconds.
    """

    machine: str
    address: str
    spans: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    refused: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    def send(self) -> None:
        own, now = secrets.token_hex(16), time.time_ns()
        with suppress(ApiError):  # as the machine dies, or its agent starts anew
            send_spans(self.address, [span("sender", "sent", "a1", trace_id=own, start=now)])
            self.spans.append(own)
            send_logs(self.address, [records({"service_name": "sender"}, (now, own, {}))])
            self.lines.append(own)
            last, self._last = self._last, time.monotonic()
            self.refused = max(self.refused, self._last - last)


@contextmanager
def traffic(stack: Stack) -> Iterator[list[Sender]]:
    """While inside, every agent gets ten spans and lines a second."""
    agents = stack.clients.consul.health("otel-agent")
    senders = [Sender(entry["Node"]["Node"], url(entry)) for entry in agents]
    with ExitStack() as running:
        for sender in senders:
            running.enter_context(repeating(sender.send, every=0.1, result=sender))
        yield senders


def wait_for_more(senders: list[Sender], count: int = 20) -> None:
    before = [len(sender.lines) for sender in senders]

    def more() -> bool:
        return all(len(sender.lines) >= then + count for sender, then in zip(senders, before, strict=True))

    wait_until(more, timeout=60, failure="an agent takes nothing", hint="")


def lost(stack: Stack, senders: list[Sender], since: float) -> list[str]:
    """What an agent has taken and no store has."""
    telemetry, jaeger = Telemetry(stack), stack.programs.jaeger
    stored = {line["_msg"] for line in telemetry.lines('{"service.name"="sender"} | fields _msg', since)}
    return [
        *(f"span {own} of {sender.machine}" for sender in senders for own in sender.spans if not jaeger.trace(own)),
        *(f"line {own} of {sender.machine}" for sender in senders for own in sender.lines if own not in stored),
    ]


@contextmanager
def frozen(stack: Stack, machine: str, *programs: str) -> Iterator[None]:
    """These programs on the machine take nothing meanwhile."""
    there = [
        process
        for process in members.of_machine(stack.cluster.folder.path, machine)
        if Path((processes.argv_of(process) or [""])[0]).name in programs
    ]
    assert len(there) == len(programs)
    for process in there:
        process.suspend()
    try:
        yield
    finally:
        for process in there:
            with suppress(psutil.NoSuchProcess):  # the machine was killed
                process.resume()
