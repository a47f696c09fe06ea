"""The table of rights, and the policies that are made from it."""

from __future__ import annotations

import pytest

from obsctl import names, rights
from obsctl.config.catalog import ROWS
from obsctl.rights import ROLES, policies
from tests.command import Obsctl


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_its_own_rights_alone(role: str) -> None:
    text = "\n".join([policies(role, "obs", "shop").nomad, policies(role, "obs", "shop").consul])
    for right in rights.rights("obs", "shop"):
        if right.label not in ("", "*", "minion_") and role in right.roles and not right.path:
            covered = right.block.startswith("key")  # a shorter prefix may stand for it
            assert covered or f'{right.block} "{right.label}"' in text
    assert '"write"' not in policies("read", "obs", "shop").consul
    assert "submit-job" not in policies("read", "obs", "shop").nomad
    assert "write" not in policies("plan", "obs", "shop").consul


def test_two_stacks_have_different_keys() -> None:
    assert '"obsctl/one/"' in policies("deploy", "one", "default").consul
    assert '"obsctl/one/"' not in policies("deploy", "two", "default").consul


def test_a_path_of_variables_grants_all_that_a_wider_one_does() -> None:
    """Nomad takes the most specific path, and nothing of the others."""
    text = policies("deploy", "obs", "default").nomad
    assert 'path "nomad/jobs/obs-*" { capabilities = ["read", "write"] }' in text
    assert 'path "nomad/jobs/obs-warden/drill" { capabilities = ["destroy", "read", "write"] }' in text
    assert 'path "nomad/jobs/obs-warden" ' not in text, "the wider one grants the same"


def test_a_longer_prefix_that_adds_nothing_is_left_out() -> None:
    assert policies("deploy", "obs", "default").consul.count('"obsctl/obs/') == 1
    assert 'key_prefix "obsctl/obs/drills/" {\n  policy = "write"' in policies("drill", "obs", "default").consul


def test_older_servers_get_no_capability_that_they_do_not_know() -> None:
    assert "host-volume" not in policies("deploy", "obs", "default").nomad
    assert "host-volume-create" in policies("deploy", "obs", "default", volumes=True).nomad


def test_a_row_says_its_rule_on_one_line() -> None:
    [row] = [row for row in rights.rights("obs", "default") if row.what == "list jobs"]
    assert row.rule == 'namespace "default" { capabilities = ["list-jobs"] }'


@pytest.mark.parametrize(
    ("server", "call", "rules"),
    [
        ("consul", "GET /v1/kv/obsctl/obs/x", ['key "obsctl/obs/x" { policy = "read" }']),
        ("consul", "PUT /v1/txn", []),
        (
            "nomad",
            "GET /v1/var/nomad%2Fjobs%2Fmy-obs-grafana",
            ['namespace "shop" { variables { path "nomad/jobs/my-obs-grafana" { capabilities = ["read"] } } }'],
        ),
        ("nomad", "GET /v1/job/web/allocations", ['namespace "shop" { capabilities = ["read-job"] }']),
        ("nomad", "GET /v1/status/leader", []),
    ],
)
def test_what_a_call_takes(server: str, call: str, rules: list[str]) -> None:
    assert rights.needed(server, *call.split(), "shop") == rules


def test_tasks_register_each_service_of_the_stack_and_no_other() -> None:
    services = {right.label for right in rights.rights("obs", "default") if right.block == "service"}
    assert set(ROWS) <= services
    assert set(names.COMPONENTS) == set(ROWS)
    assert 'service_prefix "" {\n  policy = "read"' in policies("tasks", "obs", "default").consul


def test_the_probe_of_doctor_reads_as_templates_do_and_registers_nothing() -> None:
    probe, tasks = policies("doctor-probe", "obs", "default"), policies("tasks", "obs", "default")
    assert (probe.nomad, "write" in probe.consul) == ("", False)
    assert 'key_prefix "obsctl/obs/" {\n  policy = "read"' in probe.consul
    assert {block for block in tasks.consul.split("}\n") if "write" not in block} >= set(probe.consul.split("}\n"))


class TestCommand:
    def test_the_roles(self, obsctl: Obsctl) -> None:
        assert all(role in obsctl("policies").out for role in ROLES)

    def test_a_policy_to_be_piped(self, obsctl: Obsctl) -> None:
        assert obsctl("policies", "log-links", "--server", "nomad").out == policies("log-links", "obs", "default").nomad

    def test_json(self, obsctl: Obsctl) -> None:
        document = obsctl("policies", "demo", "--json").document()
        assert document["consul"] == policies("demo", "obs", "default").consul

    def test_an_unknown_role(self, obsctl: Obsctl) -> None:
        ended = obsctl("policies", "boss")
        assert ended.code == 2
        assert "there are deploy, plan" in ended.err
