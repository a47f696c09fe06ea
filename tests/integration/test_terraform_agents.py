"""What terraform/agents renders starts real agents of Consul and Nomad, closed by ACLs, as it says."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from obsctl.wait import wait_until
from tests.agents import program, running
from tests.machines import Machine, machine
from tests.needs import version
from tests.tofu import Tofu

pytestmark = pytest.mark.real
ADDRESS = "10.0.1.11"
GOSSIP = {"consul_gossip_key": "Y29uc3VsLWNvbnN1bC1jb25zdWwtY29uc3VsLWNvMDE=",
          "nomad_gossip_key": "bm9tYWQtbm9tYWQtbm9tYWQtbm9tYWQtbm9tYWQtMDE="}  # fmt: skip
NOMAD_RIGHTS = """
agent_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
service_prefix "" { policy = "write" }
"""


class Agents:
    """One node that is server and client, its agents started with what the module gave."""

    def __init__(self, node: Machine, folder: Path, files: dict[str, str], tls: dict[str, str] | None) -> None:
        self.node, self.folder = node, folder
        for name, text in files.items():
            (folder / name).write_text(text)
        scheme, port = ("https", 8501) if tls else ("http", 8500)
        self.environ = {"CONSUL_HTTP_ADDR": f"{scheme}://{ADDRESS}:{port}", "NOMAD_ADDR": f"{scheme}://{ADDRESS}:4646"}
        if tls:
            self.environ |= {"CONSUL_CACERT": tls["ca_file"], "NOMAD_CACERT": tls["ca_file"]}
            for server, prefix in (("consul", "CONSUL"), ("nomad", "NOMAD")):
                self.environ[f"{prefix}_CLIENT_CERT"] = tls[f"{server}_cert_file"]
                self.environ[f"{prefix}_CLIENT_KEY"] = tls[f"{server}_key_file"]

    def call(self, name: str, *arguments: str) -> str:
        return self.node.run(program(name), *arguments, **self.environ)

    def said(self, name: str, *arguments: str) -> Any:
        return json.loads(self.call(name, *arguments))

    @contextmanager
    def agent(self, name: str, flag: str) -> Iterator[None]:
        config = [f"{flag}={self.folder / file}" for file in (f"{name}.json", f"{name}-secrets.json")]
        with running(self.node.command(program(name), "agent", *config), self.folder, f"{name}.log"):
            yield

    def until(self, name: str, *arguments: str) -> str:
        """Repeat the command until it succeeds, and give what it prints."""
        said: list[str] = []

        def done() -> bool:
            try:
                said.append(self.call(name, *arguments))
            except subprocess.CalledProcessError:
                return False
            return True

        log = str(self.folder / f"{name}.log")
        wait_until(done, timeout=60, failure=f"{name} {arguments} did not succeed", hint=log, interval=0.3)
        return said[-1]


def certificates(folder: Path) -> dict[str, str]:
    """Made by the servers' own commands."""
    for name, options in (("consul", ["-server", "-dc=dc1"]), ("nomad", ["-server", "-region=global"])):
        (folder / name).mkdir()
        address = f"-additional-ipaddress={ADDRESS}"
        for command in (["ca", "create"], ["cert", "create", *options, address]):
            subprocess.run([program(name), "tls", *command], cwd=folder / name, check=True, capture_output=True)
    authorities = (folder / "consul" / "consul-agent-ca.pem", folder / "nomad" / "nomad-agent-ca.pem")
    (folder / "ca.pem").write_text("".join(file.read_text() for file in authorities))
    return {
        "ca_file": str(folder / "ca.pem"),
        "consul_cert_file": str(folder / "consul" / "dc1-server-consul-0.pem"),
        "consul_key_file": str(folder / "consul" / "dc1-server-consul-0-key.pem"),
        "nomad_cert_file": str(folder / "nomad" / "global-server-nomad.pem"),
        "nomad_key_file": str(folder / "nomad" / "global-server-nomad-key.pem"),
    }


@pytest.fixture(params=[pytest.param(False, id="plain", marks=pytest.mark.campaign), pytest.param(True, id="tls")])
def agents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agents]:
    tls = certificates(tmp_path) if request.param else None
    tokens = {name: str(uuid.uuid4()) for name in ("agent", "nomad", "initial_management")}
    (tmp_path / "volume").mkdir()
    tofu = Tofu(tmp_path / "tofu")
    values = {
        "node_name": "one", "address": ADDRESS, "servers": 1, "data_dir": str(tmp_path / "data"), **GOSSIP,
        "nomad_server": True, "nomad_client": True, "consul_server": True, "consul_tokens": tokens, "tls": tls,
        "host_volumes": {"obs-prometheus": {"path": str(tmp_path / "volume")}}, "collector_volumes": True,
        "plugins": {"raw_exec": {"enabled": True}}, "volumes_folder": str(tmp_path / "volume"),
        "workload_identity": (version("nomad") or ()) >= (1, 7),
        "network_interface": "lo", "telemetry_interval": "1s", "limits": {"http_max_conns_per_client": 250},
        "client_options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean"},
    }  # fmt: skip
    (tmp_path / "data" / "nomad" / "alloc").mkdir(parents=True)
    given = tofu.outputs(tofu.use("agents", tmp_path / "use", values))
    with ExitStack() as stack:
        node = stack.enter_context(machine())
        node.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
        made = Agents(node, tmp_path, given["files"] | given["secret_files"], tls)
        stack.enter_context(made.agent("consul", "-config-file"))
        made.environ["CONSUL_HTTP_TOKEN"] = tokens["initial_management"]
        made.until("consul", "acl", "token", "list")
        made.call("consul", "acl", "token", "create", f"-secret={tokens['agent']}", "-node-identity=one:dc1")
        (tmp_path / "rights.hcl").write_text(NOMAD_RIGHTS)
        made.call("consul", "acl", "policy", "create", "-name=nomad", f"-rules=@{tmp_path / 'rights.hcl'}")
        made.call("consul", "acl", "token", "create", f"-secret={tokens['nomad']}", "-policy-name=nomad")
        stack.enter_context(made.agent("nomad", "-config"))
        made.environ["NOMAD_TOKEN"] = json.loads(made.until("nomad", "acl", "bootstrap", "-json"))["SecretID"]
        yield made


def test_they_become_ready_and_are_closed(agents: Agents) -> None:
    def nodes() -> list[Any]:
        found = agents.said("nomad", "node", "status", "-json")
        return [node for node in found if node["Status"] == "ready"]

    wait_until(lambda: bool(nodes()), timeout=60, failure="no node is ready", hint=str(agents.folder), interval=0.3)
    node = agents.said("nomad", "node", "status", "-json", nodes()[0]["ID"])
    assert node["HostVolumes"].keys() == {"obs-prometheus", "obsctl-nomad-alloc", "obsctl-host-root"}
    assert node["HostVolumes"]["obsctl-host-root"]["ReadOnly"]
    assert node["Drivers"]["raw_exec"]["Healthy"]
    assert node["Meta"]["obsctl_volumes"] == str(agents.folder / "volume")

    # Consul knows Nomad: by the token of its own.
    found = "consul", "catalog", "services"
    wait_until(
        lambda: "nomad-client" in agents.call(*found), timeout=30, failure="not in Consul", hint="", interval=0.3
    )

    for name, command in (("consul", "info"), ("nomad", "agent-info")):
        assert "encrypted = true" in agents.call(name, command), "gossip is not encrypted"
    assert "nomad_client_host" in agents.call("nomad", "operator", "metrics", "-format=prometheus")

    lists = {"nomad": ("node", "status"), "consul": ("acl", "token", "list")}
    refused(agents, lists, without=("NOMAD_TOKEN", "CONSUL_HTTP_TOKEN"), because="403")
    if "NOMAD_CACERT" in agents.environ:
        keys = [name for name in agents.environ if name.endswith(("CLIENT_CERT", "CLIENT_KEY"))]
        if (version("nomad") or ()) >= (1, 7):  # which lets Consul fetch its keys without one
            del lists["nomad"]
        # Who writes when the connection is closed already is not told why.
        refused(
            agents, lists, without=keys, because="certificate|broken pipe|connection reset|could not be established"
        )


def refused(agents: Agents, lists: Mapping[str, Sequence[str]], *, without: Sequence[str], because: str) -> None:
    """These servers do not answer who has not these variables."""
    environ = agents.environ
    agents.environ = {name: "" if name in without else value for name, value in environ.items()}
    for name, command in lists.items():
        with pytest.raises(subprocess.CalledProcessError) as failure:
            agents.call(name, *command)
        assert re.search(because, failure.value.stderr)
    agents.environ = environ
