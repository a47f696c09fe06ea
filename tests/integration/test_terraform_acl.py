"""terraform/acl: its policies are those of `obsctl policies`, and real servers take what it makes and act on it.

The real providers cannot be had here. So OpenTofu applies the module with their stand-ins, and what it then has in its
state is sent to the servers by `send`, one documented call for each resource.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests

from obsctl import rights
from obsctl.setup import consul_identity, nomad_policies
from tests.agents import guarded_consul, guarded_nomad
from tests.identities import Signer, signer
from tests.tofu import Tofu

if TYPE_CHECKING:
    from obsctl.clients.acl import ConsulAcl, NomadAcl

pytestmark = pytest.mark.real
TOKENS = ["deploy", "plan", "drill", "read", "warden", "prometheus", "demo", "tasks"]
Resource = dict[str, Any]


def resources(tofu: Tofu, folder: Path, values: dict[str, Any]) -> list[tuple[str, Resource]]:
    """(type, values) of all that is in the state after an apply."""
    made = tofu.use("acl", folder, values)
    tofu.run("apply", "-auto-approve", "-no-color", folder=made)
    module = json.loads(tofu.run("show", "-json", folder=made))["values"]["root_module"]["child_modules"][0]
    return [(item["type"], item["values"]) for item in module["resources"]]


@pytest.fixture(scope="module")
def tofu(tmp_path_factory: pytest.TempPathFactory) -> Tofu:
    return Tofu(tmp_path_factory.mktemp("tofu"))


@pytest.mark.parametrize("volumes", [False, True], ids=["plain", "volumes"])
def test_its_policies_are_those_of_obsctl_policies(tofu: Tofu, tmp_path: Path, volumes: bool) -> None:
    values = {"stack": "shop", "nomad_namespace": "team-a", "dynamic_volumes": volumes}
    made = resources(tofu, tmp_path / "use", values)
    texts = {
        (kind, item["name"]): blocks(item.get("rules_hcl") or item.get("rules"))
        for kind, item in made
        if kind.endswith("_acl_policy")
    }
    wanted = {}
    for role in rights.ROLES:
        policies = rights.policies(role, "shop", "team-a", volumes=volumes)
        wanted |= {("nomad_acl_policy", f"shop-{role}"): blocks(policies.nomad)} if policies.nomad else {}
        wanted |= {("consul_acl_policy", f"shop-{role}"): blocks(policies.consul)} if policies.consul else {}
    assert texts == wanted


def test_only_the_roles_that_were_asked_for(tofu: Tofu, tmp_path: Path) -> None:
    made = resources(tofu, tmp_path / "use", {"people": ["read"]})
    people = {item["name"] for kind, item in made if kind == "nomad_acl_role"}
    assert people == {"obs-read"}
    assert not [kind for kind, _ in made if kind.endswith(("_token", "_auth_method", "_binding_rule"))]


class Recorded:
    """An empty Nomad and Consul, to which `obsctl setup` makes things: (kind, name) -> what it is."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str], Any] = {}

    def nothing(self, _: str) -> None:
        """There is nothing of this name."""

    policy = role = auth_method = nothing

    def binding_rules(self, _: str) -> list[Resource]:
        return []

    def put_policy(self, name: str, rules: str, *, description: str, job: Resource | None = None) -> None:
        self.made["nomad_acl_policy" if job else "consul_acl_policy", name] = (description, blocks(rules), job)

    def put_role(self, name: str, policies: tuple[str, ...], *, description: str) -> None:
        self.made["consul_acl_role", name] = (description, policies)

    def put_jwt_method(
        self, name: str, keys: str, audience: list[str], claims: tuple[str, ...], ca: str, *, description: str
    ) -> None:
        self.made["consul_acl_auth_method", name] = (description, keys, audience, sorted(claims))

    def put_binding_rule(self, method: str, kind: str, name: str, selector: str, description: str) -> None:
        self.made["consul_acl_binding_rule", name] = (method, kind, selector, description)


def as_recorded(kind: str, item: Resource, names: dict[str, str]) -> tuple[str, Any]:
    """The same of a resource of the module. names: the id of a policy -> its name."""
    text = item["description"]
    if kind == "nomad_acl_policy":
        return item["name"], (text, blocks(item["rules_hcl"]), _nomad_policy(item).get("JobACL"))
    if kind == "consul_acl_policy":
        return item["name"], (text, blocks(item["rules"]), None)
    if kind == "consul_acl_role":
        return item["name"], (text, tuple(names[each] for each in item["policies"]))
    if kind == "consul_acl_auth_method":
        config = json.loads(item["config_json"])
        return item["name"], (text, config["JWKSURL"], config["BoundAudiences"], sorted(config["ClaimMappings"]))
    return item["bind_name"], (item["auth_method"], item["bind_type"], item["selector"], text)


def test_it_makes_what_obsctl_setup_makes(tofu: Tofu, tmp_path: Path) -> None:
    url, there = "http://127.0.0.1:4646/.well-known/jwks.json", Recorded()
    for change in (
        *nomad_policies.changes(cast("NomadAcl", there), "shop", "team-a"),
        *consul_identity.changes(cast("ConsulAcl", there), "shop", "team-a", consul_identity.Keys(url)),
    ):
        change.apply()
    values = {"stack": "shop", "nomad_namespace": "team-a", "workload_identity": {"jwks_url": url}}
    found = resources(tofu, tmp_path / "use", values)
    names = {item["id"]: item["name"] for kind, item in found if kind == "consul_acl_policy"}
    of_setup = [(kind, item) for kind, item in found if kind != "nomad_acl_role"]  # people's
    made = {(kind, name): what for kind, item in of_setup for name, what in [as_recorded(kind, item, names)]}
    assert {key: made.get(key) for key in there.made} == there.made


def test_a_second_stack_uses_the_auth_method_of_the_first(tofu: Tofu, tmp_path: Path) -> None:
    made = resources(tofu, tmp_path / "use", {"stack": "shop", "workload_identity": {"create_auth_method": False}})
    assert not [item for kind, item in made if kind == "consul_acl_auth_method"]
    assert {item["auth_method"] for kind, item in made if kind == "consul_acl_binding_rule"} == {"nomad-workloads"}


def blocks(policy: str) -> list[str]:
    """Their order may follow the stack's name."""
    return sorted(block.strip() for block in re.split(r"(?m)^}\n", policy))


class Servers:
    """A Nomad and a Consul that want tokens, with what the module made. tokens: (server, role) -> secret."""

    def __init__(self, addresses: dict[str, str], management: str, signer: Signer) -> None:
        self.addresses, self.management, self.signer = addresses, management, signer
        self.tokens: dict[tuple[str, str], str] = {}

    def call(self, method: str, server: str, path: str, token: str = "", body: object = None) -> requests.Response:
        header = {"nomad": "X-Nomad-Token", "consul": "X-Consul-Token"}[server]
        url = f"{self.addresses[server]}/v1/{path}"
        return requests.request(method, url, headers={header: token} if token else {}, json=body, timeout=10)

    def send(self, kind: str, item: Resource, names: dict[str, str]) -> None:
        """Make the resource. names: the id that the stand-in made up -> the resource's name."""
        server = kind.split("_", maxsplit=1)[0]
        path, body = {
            "nomad_acl_policy": lambda: (f"acl/policy/{item['name']}", _nomad_policy(item)),
            "nomad_acl_role": lambda: ("acl/role", _named(item, [part["name"] for part in item["policy"]])),
            "nomad_acl_token": lambda: (
                "acl/token", {"Name": item["name"], "Type": item["type"], "Policies": item["policies"]}),
            "consul_acl_policy": lambda: ("acl/policy", {"Name": item["name"], "Rules": item["rules"]}),
            "consul_acl_role": lambda: ("acl/role", _named(item, [names[id] for id in item["policies"]])),
            "consul_acl_token": lambda: (
                "acl/token", {"Description": item["description"], "Policies": [{"Name": n} for n in item["policies"]]}),
            "consul_acl_auth_method": lambda: ("acl/auth-method", _auth_method(item)),
            "consul_acl_binding_rule": lambda: ("acl/binding-rule", {
                "AuthMethod": item["auth_method"], "Selector": item["selector"], "BindType": item["bind_type"],
                "BindName": item["bind_name"]}),
        }[kind]()  # fmt: skip
        answer = self.call("PUT", server, path, self.management, body)
        assert answer.ok, f"{kind} {item}: {answer.text}"
        if kind.endswith("_token"):
            self.tokens[server, item["policies"][0].removeprefix("obs-")] = answer.json()["SecretID"]

    def login(self, **claims: str) -> tuple[int, set[str]]:
        """The status of Consul's answer to an identity, and the roles that it gets."""
        body = {"AuthMethod": "nomad-workloads", "BearerToken": self.signer.identity(**claims)}
        answer = self.call("POST", "consul", "acl/login", body=body)
        return answer.status_code, {role["Name"] for role in answer.json()["Roles"]} if answer.ok else set()


def _nomad_policy(item: Resource) -> Resource:
    body = {"Name": item["name"], "Description": item["description"], "Rules": item["rules_hcl"]}
    for bound in item["job_acl"]:
        keys = {"Namespace": "namespace", "JobID": "job_id", "Group": "group", "Task": "task"}
        body["JobACL"] = {key: bound[name] for key, name in keys.items()}
    return body


def _named(item: Resource, policies: list[str]) -> Resource:
    return {"Name": item["name"], "Policies": [{"Name": name} for name in policies]}


def _auth_method(item: Resource) -> Resource:
    keys = {"Name": "name", "Type": "type", "Description": "description",
            "TokenLocality": "token_locality"}  # fmt: skip
    assert not item["max_token_ttl"], "Nomad renews no token, so templates would not be updated any more"
    return {**{key: item[name] for key, name in keys.items()}, "Config": json.loads(item["config_json"])}


@pytest.fixture(scope="module")
def servers(tofu: Tofu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder, management = tmp_path_factory.mktemp("servers"), str(uuid.uuid4())
    with ExitStack() as stack:
        for name in ("nomad", "consul", "signer"):
            (folder / name).mkdir()
        addresses = {
            "nomad": stack.enter_context(guarded_nomad(folder / "nomad", management)),
            "consul": stack.enter_context(guarded_consul(folder / "consul", management)),
        }
        made = Servers(addresses, management, stack.enter_context(signer(folder / "signer")))
        values = {"tokens": TOKENS, "workload_identity": {"jwks_url": made.signer.address}}
        found = resources(tofu, folder / "use", values)
        order = ("policy", "role", "auth_method", "binding_rule", "token")
        found.sort(key=lambda pair: order.index(pair[0].split("_acl_")[1]))
        names = {item["id"]: item["name"] for kind, item in found if kind.endswith("_policy")}
        for kind, item in found:
            made.send(kind, item, names)
        yield made


@pytest.mark.parametrize(
    ("role", "method", "server", "path", "allowed"),
    [
        ("read", "GET", "nomad", "jobs", True),
        ("read", "GET", "nomad", "var/nomad/jobs/obs-warden", False),
        ("read", "GET", "nomad", "acl/policies", True),  # Nomad lists those of the token itself
        ("read", "PUT", "consul", "kv/obsctl/obs/config/x", False),
        ("deploy", "PUT", "consul", "kv/obsctl/obs/config/x", True),
        ("deploy", "PUT", "consul", "kv/obsctl/other/config/x", False),
        ("deploy", "GET", "nomad", "nodes", True),
        ("plan", "PUT", "consul", "kv/obsctl/obs/config/x", False),
        ("tasks", "PUT", "consul", "kv/obsctl/obs/config/x", False),
        ("tasks", "PUT", "consul", "agent/service/register", True),
        ("warden", "PUT", "consul", "kv/obsctl/obs/drills/x", True),
        ("warden", "PUT", "consul", "kv/obsctl/obs/config/x", False),
        ("", "GET", "nomad", "jobs", False),
        ("", "PUT", "consul", "kv/obsctl/obs/config/x", False),
    ],
)
def test_real_servers_act_on_it(
    servers: Servers, role: str, method: str, server: str, path: str, allowed: bool
) -> None:
    token = servers.tokens[server, role] if role else ""
    answer = servers.call(method, server, path, token, body={"Name": "grafana"} if method == "PUT" else None)
    assert (answer.status_code != 403) is allowed, answer.text


def test_the_programs_policies_are_bound_to_their_tasks(servers: Servers) -> None:
    """So no token has them, and only an identity that Nomad gives to that task does."""
    bound = {}
    for item in servers.call("GET", "nomad", "acl/policies", servers.management).json():
        policy = servers.call("GET", "nomad", f"acl/policy/{item['Name']}", servers.management).json()
        if policy["JobACL"]:
            bound[policy["Name"]] = (policy["JobACL"]["JobID"], policy["JobACL"]["Task"])
    assert bound == {"obs-warden": ("obs-warden", "warden"), "obs-log-links": ("obs-otel-agent", "log-links")}


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({"nomad_job_id": "obs-warden", "nomad_task": "warden"}, {"obs-warden", "obs-tasks"}),
        ({"nomad_job_id": "obs-warden", "nomad_task": "other"}, {"obs-tasks"}),
        ({"nomad_job_id": "obs-warden", "nomad_service": "warden"}, {"obs-tasks"}),
        ({"nomad_job_id": "obs-prometheus", "nomad_task": "prometheus"}, {"obs-prometheus", "obs-tasks"}),
        ({"nomad_job_id": "obs-doctor-probe", "nomad_task": "look"}, {"obs-doctor-probe"}),
        ({"nomad_job_id": "obs-hello-service"}, {"obs-demo", "obs-tasks"}),
        ({"nomad_job_id": "obs-otel-gateway"}, {"obs-tasks"}),
        ({"nomad_job_id": "shop-obs-warden"}, set()),
        ({"nomad_job_id": "obs-warden", "nomad_namespace": "other"}, set()),
    ],
)
def test_consul_knows_the_programs_by_their_identity(servers: Servers, claims: dict[str, str], roles: set[str]) -> None:
    status, given = servers.login(**{"nomad_namespace": "default", **claims})
    assert given == roles
    assert (status == 403) is not bool(roles)


def test_an_identity_that_somebody_else_signed_gets_nothing(servers: Servers, tmp_path: Path) -> None:
    forged = Signer(tmp_path).identity(nomad_namespace="default", nomad_job_id="obs-warden")
    body = {"AuthMethod": "nomad-workloads", "BearerToken": forged}
    answer = servers.call("POST", "consul", "acl/login", body=body)
    assert not answer.ok
    assert "signature" in answer.text
