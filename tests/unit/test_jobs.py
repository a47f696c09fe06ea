"""What Nomad's JSON says."""

from __future__ import annotations

import pytest

from obsctl.clients.jobs import (
    declares,
    expected_count,
    expected_instances,
    finished_at,
    is_alive,
    may_run,
    of_version,
    placement_failures,
    service_names,
    task_events,
    task_state,
    tasks,
    to_register_again,
)
from obsctl.model import Json

API, INNER = {"Name": "api"}, {"Name": "inner", "Provider": "nomad"}
JOB = {
    "TaskGroups": [
        {
            "Name": "front",
            "Count": 3,
            "Services": [API, {"Name": "inner", "Provider": "nomad"}],
            "Tasks": [{"Name": "web"}],
        },
        {"Name": "back", "Count": 2, "Tasks": [{"Name": "db", "Services": [API]}, {"Name": "log"}]},
        {"Name": "batch", "Count": 4, "Services": None, "Tasks": None},
    ]
}


def test_the_parts_of_a_job() -> None:
    assert [task["Name"] for task in tasks(JOB)] == ["web", "db", "log"]
    assert expected_count(JOB) == 9


def test_a_service_counts_where_it_is_registered_in_consul() -> None:
    assert [service_names(JOB, group) for group in JOB["TaskGroups"]] == [{"api"}, {"api"}, set()]
    assert expected_instances(JOB, "api") == 5
    assert expected_instances(JOB, "inner") == 0


@pytest.mark.parametrize(
    ("name", "service", "is_declared"),
    [
        ("shop-web", "shop-web", True),
        ("shop-web", "shopXweb", False),
        ("${NOMAD_JOB_NAME}-web", "shop-web", True),
        ("${NOMAD_JOB_NAME}-web", "payments-web", False),
        ("${NOMAD_JOB_ID}.${NOMAD_GROUP_NAME}", "team/shop.app", True),
        ("${NOMAD_GROUP_NAME}-${NOMAD_TASK_NAME}", "app-main", True),
        ("${NOMAD_GROUP_NAME}-${NOMAD_TASK_NAME}", "app-other", False),
        ("${NOMAD_META_tier}-${NOMAD_META_TIER}", "gold-gold", True),
        ("${NOMAD_META_tier}", "silver", False),
        ("web-${attr.unique.hostname}", "web-node-1", True),
        ("web-${attr.unique.hostname}", "payments", False),
    ],
)
def test_a_job_declares_names_that_nomad_fills_in(name: str, service: str, is_declared: bool) -> None:
    task = {"Name": "main", "Services": [{"Name": name}]}
    group = {"Name": "app", "Count": 2, "Tasks": [{"Name": "side"}, task], "Meta": {"tier": "gold"}}
    job = {"ID": "team/shop", "Name": "shop", "Meta": {"tier": "tin"}, "TaskGroups": [group]}
    assert declares(job, service) == is_declared
    assert expected_instances(job, service) == 2 * is_declared


def test_a_job_without_groups_has_nothing() -> None:
    assert (tasks({}), expected_count({"TaskGroups": None}), expected_instances({}, "api")) == ([], 0, 0)


@pytest.mark.parametrize(
    ("status", "alive", "running"),
    [("pending", True, True), ("running", True, True), ("unknown", False, True), ("complete", False, False)],
)
def test_which_allocations_are_alive_and_which_may_run(status: str, alive: bool, running: bool) -> None:
    allocation = {"ClientStatus": status}
    assert (is_alive(allocation), may_run(allocation)) == (alive, running)


def test_allocations_of_one_version() -> None:
    allocations = [{"ID": "a", "JobVersion": 3}, {"ID": "b", "JobVersion": 4}, {"ID": "c"}]
    assert of_version(allocations, {"Version": 4}) == [allocations[1]]


def test_a_task_that_has_not_begun_tells_nothing() -> None:
    for allocation in (
        {},
        {"TaskStates": None},
        {"TaskStates": {"web": None}},
        {"TaskStates": {"web": {"Events": None}}},
    ):
        assert (task_state(allocation, "web"), task_events(allocation, "web")) == ("", [])


def test_the_end_of_the_last_task() -> None:
    states = {"a": {"FinishedAt": "1970-01-01T00:01:40Z"}, "b": {"FinishedAt": "1970-01-01T00:00:10.5Z"}}
    unfinished = {"a": {"FinishedAt": "0001-01-01T00:00:00Z"}, "b": {"FinishedAt": None}, "c": {}}
    assert finished_at({"TaskStates": states}) == 100
    assert finished_at({"TaskStates": unfinished}) is None


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ({"NodesEvaluated": 0}, "no node is eligible in the job's datacenters and node pool"),
        ({"NodesEvaluated": 2, "ConstraintFiltered": {"missing drivers": 2}}, "missing drivers (2 nodes)"),
        ({"NodesEvaluated": 1, "DimensionExhausted": {"memory": 1}}, "memory exhausted on 1 node"),
        ({"NodesEvaluated": 1}, "no node can take it"),
    ],
)
def test_why_nothing_can_be_placed(metric: dict[str, object], words: str) -> None:
    assert placement_failures({"FailedTGAllocs": {"web": metric}}) == (f"group web: {words}",)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("${NOMAD_JOB_NAME}-web", {"shop-web"}),
        ("${NOMAD_GROUP_NAME}-${NOMAD_META_tier}", {"app-tin"}),
        ("${NOMAD_TASK_NAME}", {"main"}),
        ("web-${attr.unique.hostname}", set()),
        ("${NOMAD_GROUP_NAME}-${NOMAD_ALLOC_INDEX}", set()),
    ],
)
def test_names_of_services_are_those_that_nomad_registers(name: str, known: set[str]) -> None:
    """What a node alone tells is left out: Consul has no service of such a name."""
    group = {"Name": "app", "Tasks": [{"Name": "main", "Services": [{"Name": name}]}]}
    job = {"ID": "team/shop", "Name": "shop", "Meta": {"tier": "tin"}, "TaskGroups": [group]}
    assert service_names(job, group) == known


OF_IDENTITIES = {"LTarget": "${attr.nomad.version}", "Operand": "semver", "RTarget": ">= 1.7.0-a"}
OTHER = {"LTarget": "${attr.consul.version}", "Operand": "semver", "RTarget": ">= 1.8.0"}


@pytest.mark.parametrize(
    ("parts", "constraints", "registered"),
    [
        ({"Services": [{"Name": "web", "Identity": {"Name": "consul"}}]}, [OTHER, OF_IDENTITIES], [OTHER]),
        (
            {"Tasks": [{"Identities": [{"Name": "consul"}]}]},
            [OF_IDENTITIES, OTHER, OF_IDENTITIES],
            [OF_IDENTITIES, OTHER],
        ),
        ({"Tasks": [{"Services": [{"Identity": {}}]}]}, [OF_IDENTITIES], [OF_IDENTITIES]),
        ({"Services": [{"Name": "web", "Identity": {"Name": "consul"}}]}, None, None),
    ],
    ids=["of a service", "the operator's own one stays", "without identities Nomad adds none", "of an older Nomad"],
)
def test_a_job_that_is_registered_again_lacks_what_nomad_adds_each_time(
    parts: Json, constraints: list[Json] | None, registered: list[Json] | None
) -> None:
    job = {"ID": "web", "TaskGroups": [{"Name": "web", "Constraints": constraints, **parts}]}
    again = to_register_again(job)
    assert again["TaskGroups"][0]["Constraints"] == registered
    assert job["TaskGroups"][0]["Constraints"] == constraints
