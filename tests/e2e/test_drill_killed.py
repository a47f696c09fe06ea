"""kill -9 of obsctl at each record of a drill: the warden alone brings the service back."""

from __future__ import annotations

import pytest

from obsctl.drills.tell import journal
from obsctl.drills.world import passing
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

RECORDS = [
    "started", "gate", "intent", "armed", "receivers", "injecting", "injected", "stage:pending", "stage:firing",
    "stage:delivered", "reverting", "reverted", "stage:cleared",
]  # fmt: skip
# (the record after which, so many seconds later). The delay is what is being tried, not a wait for something.
BETWEEN = [
    ("intent", 0.01), ("armed", 0.005), ("injecting", 0.005), ("injecting", 0.02), ("injecting", 0.1),
    ("injected", 1.5), ("reverting", 0.02), ("reverting", 0.3),
]  # fmt: skip
EACH_TIME = ("injected", "reverting")
POINTS = [
    *(pytest.param(record, 0.0, marks=[] if record in EACH_TIME else pytest.mark.campaign) for record in RECORDS),
    *(pytest.param(*each, marks=pytest.mark.campaign) for each in BETWEEN),
]
SURELY_DOWN_AT = ("injected", "stage:pending", "stage:firing")
LEASE_ENDS_WITHIN = 30.0
BACK_WITHIN = 60.0


@pytest.mark.parametrize(("record", "delay"), POINTS)
def test_the_service_comes_back_without_any_command(stack: Stack, record: str, delay: float) -> None:
    was_down = kill_a_drill(stack, record, delay)
    assert was_down or record not in SURELY_DOWN_AT

    wait_until(lambda: is_back(stack), timeout=BACK_WITHIN, failure="no sign of the service to be back", hint="")

    stack.run("drill", "recover")
    assert stack.clients.consul.entries("obsctl/obs/drills/") == []


def test_a_new_drill_refuses_until_the_dead_one_is_recovered(stack: Stack) -> None:
    assert kill_a_drill(stack, "injected")
    killed = journal.find(stack.folder / "state/obsctl/drills/obs", "last").stem
    wait_until(lambda: is_back(stack), timeout=BACK_WITHIN, failure="no sign of the service to be back", hint="")
    wait_until(
        lambda: only_leftovers(stack),
        timeout=60,
        failure="no sign of nothing but the leftover drill in the way",
        hint="",
    )

    refused = stack.json("drill", "stop", "response-service", "--yes", code=20)
    [finding] = next(record["data"]["findings"] for record in refused["journal"] if record["kind"] == "gate")
    assert finding["where"].startswith("drill ")

    recovered = stack.json("drill", "recover")["recovered"]
    assert [(item["service"], item["by"]) for item in recovered] == [("response-service", "the warden")]
    assert stack.not_steady() == []

    report = stack.json("drill", "report", killed)
    assert [record["kind"] for record in report["journal"]][:7] == RECORDS[:7]
    assert report["verdict"]["outcome"] == "ABORTED"


def kill_a_drill(stack: Stack, record: str, delay: float = 0.0) -> bool:
    """kill -9 so many seconds after the record. Returns, when the dead drill's lease has ended, whether the job was
    stopped at the kill."""
    # Held, so that a busy machine's late kill still finds the service down where the test counts on it.
    held = ["--hold", "3"] if record in SURELY_DOWN_AT else []
    process = stack.start_drill(record, *held)
    SYSTEM_CLOCK.sleep(delay)
    process.kill()
    was_down = bool(stack.clients.nomad.job("obs-response-service")["Stop"])
    process.communicate(timeout=10)
    consul = stack.clients.consul
    wait_until(
        lambda: consul.get("obsctl/obs/lock") is None,
        timeout=LEASE_ENDS_WITHIN,
        failure="no sign of the lease's end",
        hint="",
    )
    return was_down


def is_back(stack: Stack) -> bool:
    """The job runs and its instance passes in Consul."""
    job = stack.clients.nomad.job("obs-response-service")
    return not job["Stop"] and passing(stack.world, "response-service") == 1


def only_leftovers(stack: Stack) -> bool:
    return all(reason.startswith("drill ") for reason in stack.not_steady())
