"""A Consul that wants a token: what reads it for the tasks is the Nomad client's token, or one of each task's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.local import agents
from obsctl.local import cluster as local_cluster
from obsctl.local.agents import CONSUL
from tests import needs
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
TOKEN = "5ecf7a10-0000-4000-8000-c0ffee5ec4e7"
IDENTITIES = not needs.lacking({"nomad": "1.7"})
"""Where Nomad can, tasks have tokens of their own, as they must from 1.10 on."""
IDENTITY = {"aud": ["consul.io"], "ttl": "1h"}
TASKS = 'key_prefix "" { policy = "read" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'


def guarded(agent: str, *more: Any) -> str:
    """The agent's configuration, with ACLs in Consul, and Nomad's token for it."""
    config = json.loads(agents.config_text(agent, *more))
    if agent == CONSUL:
        tokens = {"initial_management": TOKEN, "agent": TOKEN}
        config["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}
    else:
        config["consul"]["token"] = TOKEN
        if IDENTITIES:
            config["consul"] |= {"service_identity": IDENTITY, "task_identity": IDENTITY}
    return json.dumps(config)


def trust_nomad(consul: str, nomad: str) -> None:
    """What `nomad setup consul` makes: whoever has an identity of this Nomad may read, and register its service."""
    session = Session(Endpoint("Consul", consul, down="", token=TOKEN, token_header="X-Consul-Token"))
    claims = ("nomad_namespace", "nomad_job_id", "nomad_task", "nomad_service")
    method = {
        "JWKSURL": f"{nomad}/.well-known/jwks.json",
        "JWTSupportedAlgs": ["RS256"],
        "BoundAudiences": IDENTITY["aud"],
        "ClaimMappings": {name: name for name in claims},
    }
    session.put("/v1/acl/auth-method", json={"Name": "nomad-workloads", "Type": "jwt", "Config": method})
    policy = session.put("/v1/acl/policy", json={"Name": "nomad-tasks", "Rules": TASKS}).json()
    session.put("/v1/acl/role", json={"Name": "nomad-tasks", "Policies": [{"ID": policy["ID"]}]})
    rules = [
        ("role", "nomad-tasks", "nomad_service not in value"),
        ("service", "${value.nomad_service}", "nomad_service in value"),
    ]
    for kind, name, selector in rules:
        rule = {"AuthMethod": "nomad-workloads", "BindType": kind, "BindName": name, "Selector": selector}
        session.put("/v1/acl/binding-rule", json=rule)


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local_cluster, "config_text", guarded)
        with running_cluster() as cluster:
            addresses = cluster.addresses
            if IDENTITIES:
                trust_nomad(addresses.consul, addresses.nomad)
            consul = {"address": addresses.consul, "token": "env:CONSUL", "workload_identity": IDENTITIES}
            write_config(folder, cluster, components=ALERT_PATH, demo=("response-service",), consul=consul)
            yield Stack(cluster, folder)


def test_a_deploy_ends_well_and_leaves_nothing_to_change(stack: Stack) -> None:
    """Every file of every task comes from Consul's keys."""
    found = json.loads(stack.run("--json", "doctor", CONSUL=TOKEN).stdout)["findings"]
    assert [finding["severity"] for finding in found if finding["where"] == "tasks"] == ["info"]
    stack.run("deploy", "--yes", CONSUL=TOKEN)
    assert "Nothing to change" in stack.run("deploy", "--yes", CONSUL=TOKEN).stdout
