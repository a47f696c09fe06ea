"""terraform/: OpenTofu accepts every module and example, and says what is wrong with a value."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from obsctl.config.components import Driver
from obsctl.config.schema import Config
from obsctl.stack.storage import host_volumes
from tests.tofu import MODULES, SCHEMAS, Failed, Tofu

pytestmark = pytest.mark.real
NAMES = sorted(folder.name for folder in MODULES.iterdir() if folder.is_dir())
SECRETS = {
    "TF_VAR_nomad_gossip_key": "bm9tYWQtbm9tYWQtbm9tYWQtbm9tYWQtbm9tYWQtMDE=",
    "TF_VAR_consul_gossip_key": "Y29uc3VsLWNvbnN1bC1jb25zdWwtY29uc3VsLWNvMDE=",
    "TF_VAR_consul_tokens": json.dumps({"agent": "11111111-2222-3333-4444-555555555555"}),
}
AWS = {
    "vpc_id": "vpc-1", "subnet_ids": ["subnet-1", "subnet-2"], "cidrs": ["10.20.0.0/16"],
    "certificate_arn": "arn:aws:acm:x", "node_security_group_id": "sg-1", "nodes": ["10.0.1.21"],
}  # fmt: skip
AGENT = {"node_name": "one", "address": "10.0.1.11"}
PORTS = {"nodes": ["10.0.1.0/24"], "cidrs": ["10.20.0.0/16"]}


@pytest.fixture(scope="module")
def tofu(tmp_path_factory: pytest.TempPathFactory) -> Tofu:
    return Tofu(tmp_path_factory.mktemp("tofu"))


def test_all_of_it_is_formatted(tofu: Tofu) -> None:
    tofu.run("fmt", "-check", "-recursive", folder=tofu.modules)


@pytest.mark.parametrize("name", NAMES)
def test_a_module_has_what_the_field_expects(name: str) -> None:
    files = {"main.tf", "variables.tf", "outputs.tf", "versions.tf", "README.md"}
    assert {file.name for file in (MODULES / name).iterdir()} >= files
    example = MODULES / name / "examples" / "complete"
    assert {file.name for file in example.iterdir()} >= {"main.tf", "variables.tf", "outputs.tf", "terraform.tfvars"}
    for file in (MODULES / name).rglob("variables.tf"):
        for variable, body in re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', file.read_text(), re.DOTALL | re.MULTILINE):
            assert re.search(r"^  description\s+= ", body, re.MULTILINE), (file, variable)
            assert re.search(r"^  type\s+= ", body, re.MULTILINE), (file, variable)
    readme = (MODULES / name / "README.md").read_text()
    for kind in ("variable", "output"):
        text = (MODULES / name / f"{kind}s.tf").read_text()
        missing = [item for item in re.findall(rf'^{kind} "(\w+)"', text, re.MULTILINE) if f"`{item}`" not in readme]
        assert missing == [], f"README.md of {name} lacks these"


@pytest.mark.parametrize("name", NAMES)
def test_its_example_is_valid_and_can_be_planned(tofu: Tofu, name: str) -> None:
    """The values are those of its terraform.tfvars. OpenTofu judges them by the providers' schemas."""
    example = tofu.modules / name / "examples" / "complete"
    tofu.run("init", "-no-color", folder=example)
    tofu.run("validate", "-no-color", folder=example)
    assert "Plan: " in tofu.run("plan", "-no-color", folder=example, **SECRETS)


def test_the_example_of_agents_has_each_volume_of_a_stack_with_docker(tofu: Tofu) -> None:
    """For the user who writes to it. obsctl's own defaults say which those are."""
    config = Config()
    assert config.driver == Driver.DOCKER
    example = tofu.modules / "agents" / "examples" / "complete"
    tofu.run("init", "-no-color", folder=example)
    tofu.run("plan", "-out=plan", folder=example, **SECRETS)
    planned = json.loads(tofu.run("show", "-json", "plan", folder=example))["planned_values"]
    folders = planned["outputs"]["folders"]["value"]
    clients = {"client-1", "client-2", "client-3"}
    assert folders.keys() == clients
    for paths in folders.values():
        owners = {Path(path).name: folder["owner"] for path, folder in paths.items()}
        assert owners == host_volumes(config)
    files = {item["values"]["filename"]: item["values"].get("content") for item in planned["root_module"]["resources"]}
    for client in clients:
        offered = json.loads(files[f"build/{client}/nomad.json"])["client"]["host_volume"]
        assert offered.keys() == host_volumes(config).keys() | {"obsctl-nomad-alloc", "obsctl-host-root"}


@pytest.mark.parametrize("schema", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_schema_says_where_it_was_read(schema: Path) -> None:
    said = json.loads(schema.read_text())
    assert f"github.com/hashicorp/terraform-provider-{schema.stem} " in said["origin"]
    assert re.search(r"\b[0-9a-f]{40}\b", said["origin"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('cidr_ipv5 = "10.0.0.0/8"', 'An argument named "cidr_ipv5" is not expected here'),
        ('from_port = "many"', "a number is required"),
        ("", 'The argument "ip_protocol" is required'),
    ],
)
def test_what_a_provider_does_not_know_is_an_error(tofu: Tofu, tmp_path: Path, arguments: str, complaint: str) -> None:
    """Else a schema that is recorded would prove nothing."""
    protocol = 'ip_protocol = "tcp"\n' if arguments else ""
    block = f'security_group_id = "sg-1"\n{protocol}{arguments}\n'
    (tmp_path / "main.tf").write_text(f'resource "aws_vpc_security_group_ingress_rule" "it" {{\n{block}}}\n')
    tofu.run("init", "-no-color", folder=tmp_path)
    with pytest.raises(Failed, match=re.escape(complaint)):
        tofu.run("validate", "-no-color", folder=tmp_path)


@pytest.mark.parametrize(
    ("module", "values", "complaint"),
    [
        ("agents", {**AGENT, "servers": 2}, "servers must be 1, 3, 5 or 7"),
        ("agents", {**AGENT, "address": "0.0.0.0"}, "0.0.0.0 is none"),
        ("agents", {**AGENT, "address": "fd00::1"}, "address must be an IPv4 address"),
        ("agents", {**AGENT, "node_name": "a.b"}, "node_name must be"),
        ("agents", {**AGENT, "consul_gossip_key": "short"}, "consul_gossip_key must be 32 bytes in base64"),
        ("agents", {**AGENT, "host_volumes": {"data": {"path": "data"}}}, "Each path of host_volumes must be absolute"),
        (
            "agents",
            {**AGENT, "nomad_client": True, "consul_server": True},
            "a Nomad client that is no server never finds",
        ),
        ("agents", AGENT, "a Consul agent that is no server never finds them"),
        ("agents", {**AGENT, "host_volumes": {"d": {"path": "/d", "mode": "rwx"}}}, "a mode such as 0750"),
        ("agents", {**AGENT, "host_volumes": {'d" {': {"path": "/d"}}}, "names in host_volumes must be"),
        ("agents", {**AGENT, "region": "a b"}, "region must be letters"),
        ("acl", {"workload_identity": {}}, "jwks_url must be an address"),
        ("acl", {"workload_identity": {"jwks_url": "http://n/k", "auth_method": "a b"}}, "auth_method must be letters"),
        ("acl", {"nomad_namespace": '*" { policy = "write" }'}, "nomad_namespace must be letters"),
        ("ports-nftables", {**PORTS, "closed_ports": ["70000"]}, "closed_ports must be from 1 to 65535"),
        ("ports-nftables", {**PORTS, "closed_ports": ["200-100"]}, "closed_ports must be from 1 to 65535"),
        ("ports-nftables", {**PORTS, "cidrs": ["10.0.0.0/8 }"]}, "cidrs must name at least one IPv4 network"),
        ("acl", {"people": ["root"]}, "people must be among deploy, plan, drill and read"),
        ("acl", {"tokens": ["management"]}, "tokens must be among"),
        ("acl", {"stack": 'obs" or "'}, "stack must be the name in obsctl.yaml"),
        ("acl", {"workload_identity": {"jwks_url": "nomad:4646"}}, "jwks_url must be an address"),
        ("ports-aws", {**AWS, "cidrs": ["0.0.0.0/0"]}, "must not open the programs to the whole internet"),
        ("ports-aws", {**AWS, "cidrs": ["0.0.0.0/1", "128.0.0.0/1"]}, "none wider than /8"),
        ("ports-aws", {**AWS, "cidrs": []}, "cidrs must name at least one IPv4 network"),
        ("ports-aws", {**AWS, "certificate_arn": ""}, "certificate_arn must be the ARN"),
        ("ports-aws", {**AWS, "subnet_ids": ["subnet-1"]}, "at least two subnets"),
        ("ports-nftables", {**PORTS, "cidrs": ["0.0.0.0/0"]}, "must not open the programs to the whole internet"),
        ("ports-nftables", {**PORTS, "nodes": ["10.0.1.1; flush ruleset"]}, "nodes must be IPv4 addresses"),
        ("ports-nftables", {**PORTS, "ports": {"x": 70000}}, "ports must be whole numbers from 1 to 65535"),
        ("ports-nftables", {**PORTS, "ports": {"a\nb": 1}}, "names in ports must be"),
        ("ports-nftables", {**PORTS, "closed_ports": ["all"]}, "closed_ports must be ports or ranges"),
    ],
)
def test_a_wrong_value_gets_a_sentence(
    tofu: Tofu, tmp_path: Path, module: str, values: dict[str, Any], complaint: str
) -> None:
    folder = tofu.use(module, tmp_path / "use", values)
    with pytest.raises(Failed, match=re.escape(complaint)):
        tofu.run("plan", "-no-color", folder=folder)


def test_a_network_must_be_given() -> None:
    """Nothing is open by default."""
    for module in ("ports-aws", "ports-nftables"):
        [body] = re.findall(r'^variable "cidrs" \{\n(.*?)^\}', (MODULES / module / "variables.tf").read_text(),
                            re.DOTALL | re.MULTILINE)  # fmt: skip
        assert "default" not in re.sub(r"description.*", "", body)


def test_every_listener_speaks_https(tofu: Tofu, tmp_path: Path) -> None:
    folder = tofu.use("ports-aws", tmp_path / "use", AWS)
    tofu.run("plan", "-out=plan", folder=folder)
    planned = json.loads(tofu.run("show", "-json", "plan", folder=folder))["resource_changes"]
    after = [(item["type"], item["change"]["after"]) for item in planned]
    listeners = {values["port"]: values["protocol"] for kind, values in after if kind == "aws_lb_listener"}
    assert listeners == dict.fromkeys((9090, 3000, 9093, 16686), "HTTPS")
    opened = {values["cidr_ipv4"] for kind, values in after if kind.endswith("_ingress_rule")}
    assert opened == {"10.20.0.0/16", None}  # None: from the load balancer to the nodes


def test_no_secret_is_in_a_file_for_everybody(tofu: Tofu, tmp_path: Path) -> None:
    keys = {"nomad_gossip_key": SECRETS["TF_VAR_nomad_gossip_key"]}
    keys["consul_gossip_key"] = SECRETS["TF_VAR_consul_gossip_key"]
    tokens = {"agent": "agent-token", "nomad": "nomad-token", "initial_management": "management-token"}
    folder = tofu.use("agents", tmp_path / "use", {**AGENT, **keys, "consul_tokens": tokens,
                                                   "nomad_server": True, "consul_server": True})  # fmt: skip
    given = tofu.outputs(folder)
    secrets = [*keys.values(), *tokens.values()]
    assert [secret for secret in secrets if secret in json.dumps(given["files"])] == []
    assert [secret for secret in secrets if secret not in json.dumps(given["secret_files"])] == []


@pytest.mark.parametrize(("identity", "wants_certificate"), [(False, True), (True, False)])
def test_consul_can_read_the_keys_of_identities(
    tofu: Tofu, tmp_path: Path, identity: bool, wants_certificate: bool
) -> None:
    """It shows Nomad no certificate."""
    tls = {f"{name}_file": f"/{name}" for name in ("ca", "nomad_cert", "nomad_key", "consul_cert", "consul_key")}
    values = {**AGENT, "nomad_server": True, "consul_server": True, "tls": tls, "workload_identity": identity}
    files = tofu.outputs(tofu.use("agents", tmp_path / "use", values))["files"]
    assert json.loads(files["nomad.json"])["tls"]["verify_https_client"] is wants_certificate
    assert ("task_identity" in json.loads(files["nomad.json"])["consul"]) is identity


def test_it_says_whose_the_folders_of_volumes_are(tofu: Tofu, tmp_path: Path) -> None:
    volumes = {"data": {"path": "/srv/data"}, "own": {"path": "/srv/own", "owner": 472, "mode": "0700"},
               "root": {"path": "/", "read_only": True}}  # fmt: skip
    values = {**AGENT, "consul_server": True, "nomad_server": True, "nomad_client": True, "host_volumes": volumes}
    given = tofu.outputs(tofu.use("agents", tmp_path / "use", values))
    assert given["folders"] == {
        "/srv/data": {"owner": 65534, "mode": "0750"}, "/srv/own": {"owner": 472, "mode": "0700"},
    }  # fmt: skip
    client = json.loads(given["files"]["nomad.json"])["client"]
    assert client["host_volume"]["own"] == {"path": "/srv/own", "read_only": False}
