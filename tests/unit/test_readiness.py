"""When the local cluster is ready, and what it says until then."""

from __future__ import annotations

import pytest

from obsctl.errors import ApiError, ObsctlError, Unreachable
from obsctl.local.readiness import PROBE_JOB, TIMEOUT, ask, no_leader, not_placeable, registrations, wait_ready
from obsctl.model import Json
from tests.fakes import FakeClock, FakeConsul, FakeNomad

NODE: Json = {
    "ID": "n1",
    "ModifyIndex": 7,
    "Status": "ready",
    "SchedulingEligibility": "eligible",
    "Drivers": {"raw_exec": {"Healthy": True}},
}


class OneNode(FakeNomad):
    """Nomad with one node, which the test describes."""

    def __init__(self, **changes: object) -> None:
        super().__init__()
        self.node_stub = {**NODE, **changes}

    def nodes(self) -> list[Json]:
        return [self.node_stub]


class Leaderless(FakeConsul):
    def leader(self) -> str:
        return ""


def test_leader() -> None:
    assert no_leader(FakeConsul()) == ""
    assert no_leader(Leaderless()) == "it has no leader"


def test_ready_node() -> None:
    assert not_placeable(OneNode(), {}) == ""


def test_a_node_of_before_the_start_does_not_count() -> None:
    nomad = OneNode()
    before = registrations(nomad)
    assert not_placeable(nomad, before) == "its node has not registered"
    nomad.node_stub["ModifyIndex"] = 8
    assert not_placeable(nomad, before) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Status": "initializing"}, "its node is initializing"),
        ({"SchedulingEligibility": "ineligible"}, "its node is ineligible"),
        ({"Drivers": {"raw_exec": {"Healthy": False}}}, "its raw_exec driver is not healthy"),
        ({"Drivers": None}, "its raw_exec driver is not healthy"),
    ],
)
def test_node_that_is_not_ready(change: Json, reason: str) -> None:
    assert reason in not_placeable(OneNode(**change), {})


def test_a_machine_that_somebody_drained_is_ready() -> None:
    drained = OneNode(Name="client-1", SchedulingEligibility="ineligible")
    assert not_placeable(drained, {}, "client-1") == ""
    drained.node_stub["Status"] = "down"
    assert not_placeable(drained, {}, "client-1") == "its node is down"


def test_a_plan_that_fails_says_why() -> None:
    nomad = OneNode()
    nomad.unplaceable[PROBE_JOB["ID"]] = {"probe": {"NodesEvaluated": 1, "ConstraintFiltered": {"missing drivers": 1}}}
    assert not_placeable(nomad, {}) == "no node takes a job: group probe: missing drivers (1 node)"


def test_wait_goes_on_over_refused_connections() -> None:
    answers = iter([Unreachable("refused", hint="wait"), "it has no leader", ""])

    def missing() -> str:
        answer = next(answers)
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    wait_ready("consul", missing, lambda: None, clock=FakeClock())
    assert list(answers) == []


def test_wait_ends_with_what_was_missing() -> None:
    clock = FakeClock()
    with pytest.raises(ObsctlError, match=r"consul runs but is not ready after 60 s: it has no leader"):
        wait_ready("consul", lambda: "it has no leader", lambda: None, clock=clock)
    assert clock.monotonic() == pytest.approx(TIMEOUT)


def test_wait_ends_when_the_agent_does() -> None:
    def check_alive() -> None:
        raise ObsctlError("consul ended", hint="")

    with pytest.raises(ObsctlError, match="consul ended"):
        wait_ready("consul", lambda: pytest.fail("asked a dead agent"), check_alive, clock=FakeClock())


def test_a_server_that_has_lost_its_leader_is_asked_again() -> None:
    class Between(OneNode):
        refusals = 2

        def nodes(self) -> list[Json]:
            if self.refusals:
                self.refusals -= 1
                raise ApiError("Nomad answered 500: No cluster leader", hint="wait")
            return super().nodes()

    nomad = Between()
    assert ask("nomad-server", lambda: registrations(nomad), lambda: None, clock=FakeClock()) == {"n1": 7}
