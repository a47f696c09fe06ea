"""The policies of `obsctl policies` on a cluster that denies by default: what a role needs, and not one right more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from obsctl import rights
from obsctl.doctor.tokens import SPARE
from obsctl.local.cluster import LocalCluster
from obsctl.rights import Right
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster
from tests.roles import TOKENS, Administrator
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("policies")]
OWN = rights.own_rights("deploy", "obs", "default")
SEEN_BY_DOCTOR = [row for row in OWN if row.block != "host_volume" or row.label == "*"]
"""The stack here mounts none of the others."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def admin(cluster: LocalCluster) -> Administrator:
    return Administrator(cluster)


@pytest.fixture(scope="module")
def stack(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder = tmp_path_factory.mktemp("stack")
    addresses = cluster.addresses
    nomad = {"address": addresses.nomad, **TOKENS["nomad"]}
    consul = {"address": addresses.consul, **TOKENS["consul"]}
    write_config(folder, cluster, components=ALERT_PATH, demo=("response-service",), nomad=nomad, consul=consul)
    return Stack(cluster, folder)


@pytest.fixture(scope="module")
def deployed(stack: Stack, admin: Administrator) -> Stack:
    """The stack as the role deploy left it, after doctor has found no error."""
    tokens = admin.tokens(rights.policies("deploy", "obs", "default"))
    assert told(stack, tokens, "error", code=0) == []
    stack.run("deploy", "--yes", **tokens)
    return stack


def told(stack: Stack, tokens: dict[str, str], *severities: str, code: int) -> list[str]:
    """What doctor says, and what to do about it."""
    document: dict[str, Any] = json.loads(stack.run("--json", "doctor", code=code, **tokens).stdout)
    return [f"{each['what']}: {each['hint']}" for each in document["findings"] if each["severity"] in severities]


def test_the_people_work_with_exactly_their_rights(
    deployed: Stack, admin: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, tokens = deployed, admin.roles("obs")

    assert "Nothing to change" in stack.run("plan", **tokens["plan"]).stdout
    assert "healthy" in stack.run("status", **tokens["read"]).stdout
    stack.run("verify", **tokens["read"])
    stack.run("logs", "warden", **tokens["read"])
    for name, token in tokens["drill"].items():
        monkeypatch.setenv(name, token)
    stack.wait_steady()
    assert "PROVEN" in stack.run("drill", "stop", "response-service", "--yes", **tokens["drill"]).stdout

    stack.run("drill", "recover", **tokens["drill"])

    change = {"OBSCTL_COMPONENTS__WARDEN__RESOURCES__MEMORY": "123"}
    for role in ("plan", "drill", "read"):
        refused = stack.run("deploy", "--yes", code=1, **change, **tokens[role]).stderr
        assert "403" in refused
        assert "what the call takes: " in refused


@pytest.mark.parametrize("row", SEEN_BY_DOCTOR, ids=lambda row: row.what)
def test_without_one_right_doctor_names_it(
    row: Right, deployed: Stack, admin: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    every: Callable[..., tuple[Right, ...]] = rights.rights

    def others(*args: Any, **options: Any) -> tuple[Right, ...]:
        return tuple(each for each in every(*args, **options) if not row.covers(each))

    monkeypatch.setattr(rights, "rights", others)
    tokens = admin.tokens(rights.policies("deploy", "obs", "default"))
    code = 0 if row.what in SPARE or row.what == "read the version of Nomad" else 1
    assert any(row.rule in each for each in told(deployed, tokens, "error", "warning", code=code))
