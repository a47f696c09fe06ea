"""obsctl stands still in the middle of a drill (SIGSTOP, a laptop that sleeps) until its lock is gone, and wakes up."""

from __future__ import annotations

import signal

import pytest

from obsctl.wait import wait_until
from tests.deployed import Stack
from tests.programs import freeze

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

JOB = "obs-response-service"


def is_running(stack: Stack) -> bool:
    allocations = stack.clients.nomad.job_allocations(JOB)
    return not stack.clients.nomad.job(JOB)["Stop"] and allocations[0]["ClientStatus"] == "running"


@pytest.mark.parametrize(
    "record",
    [
        "injecting",
        *(pytest.param(e, marks=pytest.mark.campaign) for e in ("armed", "injected", "stage:pending", "reverting")),
    ],
)
def test_what_it_does_when_it_wakes_up_ends_put_back(stack: Stack, record: str) -> None:
    consul = stack.clients.consul
    process = stack.start_drill(until=record)
    freeze(process)
    try:
        wait_until(
            lambda: consul.get("obsctl/obs/lock") is None,
            timeout=30,
            failure="no sign of the end of the lock",
            hint="",
        )
        wait_until(
            lambda: is_running(stack), timeout=30, failure="no sign of the service, put back by the warden", hint=""
        )
    finally:
        process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=90)

    assert process.returncode == 30, out + err
    assert "aborted" in [record["kind"] for record in stack.last_drill()["journal"]]
    assert is_running(stack)
    assert consul.entries("obsctl/obs/drills/") == []
