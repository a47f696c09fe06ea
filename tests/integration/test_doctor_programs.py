"""What the stack's own programs need of a cluster that denies by default is taken away, and doctor says so."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from obsctl import rights
from obsctl.clients import connect
from obsctl.clients.acl import ConsulAcl, NomadAcl
from obsctl.local.cluster import LocalCluster
from obsctl.setup.change import mark
from tests.deployed import Stack, write_config
from tests.local_cluster import as_manager, running_cluster
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("doctor_programs")]
ANONYMOUS = "00000000-0000-0000-0000-000000000002"
PROGRAMS = ("prometheus", "warden")
TOKENS = {program: f"env:CONSUL_{program.upper()}" for program in PROGRAMS}


class Bench:
    """A cluster, and a stack whose programs have tokens of their own, with exactly their rights."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.stack = Stack(cluster, folder)
        self.cluster = cluster
        access, addresses = cluster.access, cluster.addresses
        self.nomad: NomadAcl = connect.nomad_acl(access.nomad_server(addresses), token=access.nomad_management())
        self.consul: ConsulAcl = connect.consul_acl(access.consul_server(addresses), token=access.consul_management())
        self.environ = {"N": access.nomad_management(), "C": access.consul_management()}
        self.environ["OBSCTL_DEV_STATE_DIR"] = str(folder / "none")  # what counts is in obsctl.yaml alone
        for program in PROGRAMS:
            self.environ[f"CONSUL_{program.upper()}"] = self.consul_token(self.rows(program))
        self.environ["NOMAD_WARDEN"] = self.nomad_token(self.rows("warden"))

    def configure(self, **consul: Any) -> None:
        nomad = {"address": self.cluster.addresses.nomad, "token": "env:N", "tokens": {"warden": "env:NOMAD_WARDEN"}}
        consul = {"address": self.cluster.addresses.consul, "token": "env:C", **consul}
        write_config(self.stack.folder, self.cluster, components=ALERT_PATH, demo=(), nomad=nomad, consul=consul)

    def errors(self, *options: str, **environ: str) -> list[str]:
        """What doctor says."""
        document = self.run(*options, **environ)
        return [f"{each['where']}: {each['what']}" for each in document["findings"] if each["severity"] == "error"]

    def run(self, *options: str, **environ: str) -> Any:
        """The document; the exit code is 1 with an error, and 0 without one."""
        ended = self.stack.run("--json", "doctor", *options, code=None, **{**self.environ, **environ})
        document = json.loads(ended.stdout)
        assert ended.returncode == any(each["severity"] == "error" for each in document["findings"])
        return document

    def consul_token(self, rows: list[rights.Right]) -> str:
        name, secret = f"test-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
        self.consul.put_policy(name, rights.policies_of(rows).consul)
        self.consul.put_token(name, secret, (name,))
        return secret

    def nomad_token(self, rows: list[rights.Right]) -> str:
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.nomad.put_policy(name, rights.policies_of(rows).nomad or 'agent {\n policy = "deny"\n}')
        return self.nomad.put_token(name, (name,))

    def call(self, server: str, method: str, path: str, body: Any = None) -> Any:
        address = getattr(self.cluster.addresses, server)
        answer = requests.request(method, f"{address}{path}", json=body, headers=as_manager(self.cluster), timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def remove(self, kind: str, key: str, name: str, identifier: str = "ID") -> None:
        """What Consul's ACLs have of this kind with this key."""
        method = "?authmethod=nomad-workloads" if kind == "binding-rules" else ""
        for each in self.call("consul", "GET", f"/v1/acl/{kind}{method}"):
            if each.get(key) == name:
                path = {"policies": "policy"}.get(kind, kind.removesuffix("s"))
                self.call("consul", "DELETE", f"/v1/acl/{path}/{each[identifier]}")

    def setup(self, command: str) -> None:
        self.stack.run("setup", command, "--yes", **self.environ)

    @staticmethod
    def rows(role: str) -> list[rights.Right]:
        return [row for row in rights.rights("obs", "default") if role in row.roles]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running_cluster() as cluster:
        yield Bench(cluster, tmp_path_factory.mktemp("stack"))


class TestTokens:
    @pytest.fixture(autouse=True)
    def _by_tokens(self, bench: Bench) -> None:
        bench.configure(workload_identity=False, tokens=TOKENS)

    def test_those_with_exactly_their_rights_are_enough(self, bench: Bench) -> None:
        assert [each for each in bench.errors() if ".tokens." in each] == []

    def test_no_token(self, bench: Bench) -> None:
        bench.configure(workload_identity=False, tokens=dict.fromkeys(PROGRAMS))
        found = bench.errors()
        words = "without one Consul does not let it list services, list the nodes of services"
        for program in PROGRAMS:
            assert any(each.startswith(f"consul.tokens.{program}: {program} has no token") for each in found)
            assert any(words in each for each in found)

    def test_a_token_that_nobody_knows(self, bench: Bench) -> None:
        unknown = str(uuid.uuid4())
        found = bench.errors(CONSUL_WARDEN=unknown, NOMAD_WARDEN=unknown)
        assert "consul.tokens.warden: Consul does not know this token" in found
        assert "nomad.tokens.warden: the token may not submit jobs" in found, "Nomad says no more of it"

    def test_a_token_without_rights(self, bench: Bench) -> None:
        found = bench.errors(CONSUL_WARDEN=bench.consul_token([]), NOMAD_WARDEN=bench.nomad_token([]))
        untried = "signal, restart and stop allocations"  # no allocation runs here
        own = [row for row in rights.own_rights("warden", "obs", "default") if row.what != untried]
        assert [each for each in found if ".tokens.warden" in each] == [
            f"{row.server}.tokens.warden: the token may not {row.what}" for server in ("consul", "nomad")
            for row in own if row.server == server
        ]  # fmt: skip

    def test_what_anybody_may_needs_no_token_until_that_is_taken_away(self, bench: Bench) -> None:
        bench.configure(workload_identity=False, tokens={"warden": TOKENS["warden"], "prometheus": None})
        name = f"test-{uuid.uuid4().hex[:8]}"
        bench.consul.put_policy(name, rights.policies("prometheus", "obs", "default").consul)
        path = f"/v1/acl/token/{ANONYMOUS}"
        bench.call("consul", "PUT", path, {"Policies": [{"Name": name}]})
        assert [each for each in bench.errors() if ".tokens." in each] == []
        bench.call("consul", "PUT", path, {"Policies": []})
        [found] = [each for each in bench.errors() if ".tokens." in each]
        assert found.startswith("consul.tokens.prometheus: prometheus has no token")


def test_what_templates_may_read_is_tried_by_each_node(bench: Bench) -> None:
    """Without identities: by the token of the Nomad client, or, from Nomad 1.10 on, by none."""
    bench.configure(workload_identity=False, tokens=TOKENS)
    [node] = bench.cluster.nomad.nodes()
    refused = f"{node['Name']}: templates there may not read Consul's keys below obsctl/obs/"
    if any(each.startswith("tasks: ") for each in bench.errors()):
        assert bench.errors("--probe") == [refused]
        return
    assert bench.errors("--probe") == []
    text = mark("obs", "tasks")
    bench.consul.put_policy("obs-tasks", 'agent_prefix "" { policy = "read" }', description=text)
    try:
        found = bench.errors("--probe")
    finally:
        bench.consul.put_policy("obs-tasks", rights.policies("tasks", "obs", "default").consul, description=text)
    assert found == [refused]


@pytest.mark.parametrize("policy", ["obs-warden", "obs-log-links"])
def test_a_policy_of_nomad_that_is_bound_to_a_task(bench: Bench, policy: str) -> None:
    bench.configure(workload_identity=False, tokens=TOKENS)
    bench.call("nomad", "DELETE", f"/v1/acl/policy/{policy}")
    assert f"nomad identities: Nomad's policy {policy} is missing" in bench.errors()
    bench.setup("nomad-policies")
    assert [each for each in bench.errors() if "identities" in each] == []


@pytest.mark.needs(nomad="1.7")
class TestIdentities:
    @pytest.fixture(autouse=True)
    def _by_identities(self, bench: Bench) -> None:
        bench.configure(workload_identity=True)

    def test_what_setup_makes_is_enough(self, bench: Bench) -> None:
        said = bench.run("--probe")
        assert (said["healthy"], said["proved"]) == (True, True), said["findings"]

    def test_the_role_that_deploys_may_not_see_what_is_missing_and_doctor_says_that_it_is_open(
        self, bench: Bench
    ) -> None:
        deployer = {"N": bench.nomad_token(bench.rows("deploy")), "C": bench.consul_token(bench.rows("deploy"))}
        said = bench.run("--probe", **deployer)
        assert (said["healthy"], said["proved"]) == (True, False)
        settled = {each["where"]: each["settled_by"] for each in said["findings"] if each["settled_by"]}
        assert settled == dict.fromkeys(("nomad identities", "consul identities"), "a token that may read ACLs")

    @pytest.mark.parametrize(
        ("kind", "name", "what"),
        [
            ("binding-rules", "obsctl, stack obs: tasks", "Consul's binding rule for obs-tasks is missing"),
            ("binding-rules", "obsctl, stack obs: warden", "Consul's binding rule for obs-warden is missing"),
            ("roles", "obsctl, stack obs: prometheus", "Consul's role obs-prometheus is missing"),
            ("policies", "obsctl, stack obs: warden", "Consul's policy obs-warden is missing"),
        ],
    )
    def test_a_part_of_the_login(self, bench: Bench, kind: str, name: str, what: str) -> None:
        bench.remove(kind, "Description", name)
        assert f"consul identities: {what}" in bench.errors()
        bench.setup("consul-identity")
        assert bench.errors() == []

    def test_a_policy_that_somebody_made_smaller(self, bench: Bench) -> None:
        """The probe shows that of its own, by which tasks log in as others do."""
        for role in ("tasks", "doctor-probe"):
            bench.consul.put_policy(f"obs-{role}", "", description=f"obsctl, stack obs: {role}")
        words = "is not as `obsctl setup consul-identity` makes it"
        found = bench.errors("--probe")
        [node] = bench.cluster.nomad.nodes()
        refused = f"{node['Name']}: templates there may not read Consul's keys below obsctl/obs/"
        policies = [f"consul identities: Consul's policy obs-{role} {words}" for role in ("doctor-probe", "tasks")]
        assert found == [*policies, refused]
        bench.setup("consul-identity")
        assert bench.errors("--probe") == []

    def test_no_login_at_all(self, bench: Bench) -> None:
        bench.remove("auth-methods", "Name", "nomad-workloads", "Name")
        words = "Consul has no auth method nomad-workloads, so no task can log in"
        assert f"consul identities: {words}" in bench.errors()
        bench.setup("consul-identity")
        assert bench.errors("--probe") == []

    def test_keys_of_another_nomad(self, bench: Bench) -> None:
        with running_cluster() as other:
            keys = f"{other.addresses.nomad}/.well-known/jwks.json"
            bench.stack.run("setup", "consul-identity", "--yes", "--jwks-url", keys, **bench.environ)
            words = f"Consul checks identities by the keys at {keys}, which are not this Nomad's"
            assert f"consul identities: {words}" in bench.errors()
        bench.setup("consul-identity")
        assert bench.errors() == []
