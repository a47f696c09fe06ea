"""obsctl doctor on real servers that are broken on purpose."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.doctor.tokens import OWN_TOKEN_ONLY
from obsctl.errors import TimedOut
from obsctl.local.cluster import LocalCluster
from obsctl.local.machines import CLIENT, CONSUL
from obsctl.model import Json
from obsctl.wait import wait_until
from tests.agents import guarded_consul, guarded_nomad
from tests.deployed import Stack
from tests.local_cluster import configured, running_cluster
from tests.needs import version
from tests.ports import free_port
from tests.world import OTHERS_OFF

pytestmark = pytest.mark.real
TOKEN = "5ecf7a10-0000-4000-8000-c0ffee5ec4e7"
SQUATTER = """
job "squatter" {
  group "main" {
    network {
      mode = "host"
      port "http" {
        static = %d
      }
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "sleep"
        args    = ["600"]
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"""

OTHERS_WRITE = 0.1
"""The part of a disk that others may fill between two looks."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """No telemetry but the client's, and that without allocations; and a node with no folder for data."""

    def with_less(agent: str, _: str, config: Json) -> None:
        config["telemetry"] = {"prometheus_metrics": True, "collection_interval": "1s"} if agent == CLIENT else {}
        if agent == CLIENT:
            config["client"]["meta"] = {}
        if agent == CONSUL:
            config["telemetry"] = {"prometheus_retention_time": "0s"}  # by default it is on

    with configured(with_less), running_cluster() as running:
        yield running


def doctor(stack: Stack, config: Json, *options: str, code: int, **environ: str) -> dict[str, list[str]]:
    """What it finds, by level."""
    (stack.folder / "obsctl.yaml").write_text(json.dumps(config))
    document = json.loads(stack.run("--json", "doctor", *options, code=code, **environ).stdout)
    assert document["schema"] == "obsctl/doctor/v1"
    assert document["healthy"] is (code == 0)
    found: dict[str, list[str]] = {"error": [], "warning": [], "info": [], "unseen": []}
    for finding in document["findings"]:
        found[finding["severity"]].append(f"{finding['where']}: {finding['what']}")
    return found


@pytest.fixture
def stack(cluster: LocalCluster, tmp_path: Path) -> Stack:
    return Stack(cluster, tmp_path)


def configuration(nomad: str, consul: str, **more: Any) -> Json:
    ports = [free_port() for _ in range(4)]
    names = ("prometheus", "alertmanager", "alert-sink", "warden")
    parts = {name: {"port": port} for name, port in zip(names, ports, strict=True)}
    servers = {"nomad": {"address": nomad}, "consul": {"address": consul}}
    return {"driver": "raw_exec", **servers, "components": {**OTHERS_OFF, **parts}, **more}


def test_a_cluster_that_is_broken_in_many_ways(stack: Stack) -> None:
    addresses = stack.cluster.addresses
    nomad = stack.cluster.nomad
    config = configuration(addresses.nomad, addresses.consul)
    port = config["components"]["warden"]["port"]
    if os.geteuid() == 0:  # the exec driver takes root
        config["components"]["prometheus"]["driver"] = "exec"
    nomad.register_job(nomad.parse_job(SQUATTER % port))
    wait_until(
        lambda: any(alloc["ClientStatus"] == "running" for alloc in nomad.job_allocations("squatter")),
        timeout=30, failure="no sign of the squatter", hint="",
    )  # fmt: skip

    found = doctor(stack, config, code=1)

    [node] = nomad.nodes()
    holder = f"the job squatter (namespace default) on {node['Name']}"
    assert f"obs-warden: port {port} (http) is held by {holder}" in found["error"]
    assert f"raw_exec: {node['Name']} has no folder for data (the meta obsctl_volumes)" in found["error"]
    missing = f"obs-prometheus: the host volume obs-prometheus is missing on {node['Name']}"
    assert (missing in found["error"]) is (os.geteuid() == 0)
    told = [what.split(",")[0].split(": ")[:2] for what in found["warning"]]
    assert ["nomad", "publishes no metrics"] in told
    assert ["consul", "publishes no metrics"] in told
    assert [node["Name"], "its Nomad client publishes no metrics of allocations"] in told
    assert nomad.volumes() == []
    assert [job["ID"] for job in nomad.jobs()] == ["squatter"]


def test_the_disk_of_a_node_as_it_is_now(stack: Stack) -> None:
    addresses = stack.cluster.addresses
    config = configuration(addresses.nomad, addresses.consul)
    config["components"]["otel-gateway"] = {"enabled": True, "queue": 10**9, "storage": {"kind": "ephemeral"}}
    [told] = [what for what in doctor(stack, config, code=1)["warning"] if "of disk free" in what]
    free, wanted = re.findall(r"(\d+) MB", told)
    assert int(free) == pytest.approx(shutil.disk_usage(stack.cluster.folder.path).free / 1024**2, rel=OTHERS_WRITE)
    assert int(wanted) == 2 * 10**9


def test_a_node_that_stands_still_is_not_waited_for(stack: Stack) -> None:
    nomad = stack.cluster.nomad
    [node] = nomad.nodes()
    [client] = [agent.pid for agent in stack.cluster.status() if agent.name == CLIENT]
    assert client
    os.kill(client, signal.SIGSTOP)
    try:
        with pytest.raises(TimedOut, match="did not answer within 5 s"):
            nomad.disk_stats(node["ID"])
    finally:
        os.kill(client, signal.SIGCONT)
    assert nomad.disk_stats(node["ID"])["AllocDirStats"]["Available"]


def test_no_node_has_the_driver_and_nothing_answers(stack: Stack) -> None:
    addresses = stack.cluster.addresses
    podman = configuration(addresses.nomad, addresses.consul, driver="podman")
    assert any(what.startswith("podman: no node can run it") for what in doctor(stack, podman, code=1)["error"])
    away = configuration("http://127.0.0.1:9", addresses.consul)
    away["consul"]["token"] = stack.cluster.access.references()["consul"]
    found = doctor(stack, away, code=1)
    assert [what.split(" at ")[0] for what in found["error"]] == ["nomad: Nomad"]
    assert "jobs: not checked, because of nomad" in found["warning"]


NOMAD_READS = 'namespace "default" { policy = "read" }'
CONSUL_READS = "\n".join(f'{what}_prefix "" {{ policy = "read" }}' for what in ("key", "service", "node", "agent"))


@pytest.mark.parametrize(
    "makes_volumes", [False, pytest.param(True, marks=pytest.mark.needs(nomad="1.10"))], ids=["", "volumes"]
)
def test_tokens_that_may_only_read(tmp_path: Path, makes_volumes: bool) -> None:
    for name in ("nomad", "consul"):
        (tmp_path / name).mkdir()
    with guarded_nomad(tmp_path / "nomad", TOKEN) as nomad, guarded_consul(tmp_path / "consul", TOKEN) as consul:
        stack = Stack(None, tmp_path)  # type: ignore[arg-type]
        config = configuration(nomad, consul, driver="docker")
        config["nomad"] |= {"token": "env:N", "tokens": {"warden": "env:OWN_N"}}
        config["consul"] |= {"token": "env:C", "tokens": {"warden": "env:OWN_C", "prometheus": "env:OWN_C"}}
        if makes_volumes:
            config["components"]["prometheus"]["storage"] = {"kind": "dynamic"}

        manager = {"N": TOKEN, "C": TOKEN}
        may = doctor(stack, config, code=1, **manager, OWN_N=TOKEN, OWN_C=TOKEN)
        assert "nomad token: may do what a deploy does" in may["info"]
        assert "consul token: may do what a deploy does" in may["info"]
        lacks = {what.split(":")[0] for what in may["error"]}
        wanted = {"nodes", "nomad identities"}  # a server without clients, and nobody ran obsctl setup
        assert lacks == wanted | ({"tasks"} if (version("nomad") or ()) >= OWN_TOKEN_ONLY else set())

        reader = {"N": nomad_token(nomad), "C": consul_token(consul)}
        own = {"OWN_N": reader["N"], "OWN_C": reader["C"]}
        found = doctor(stack, config, code=1, **manager, **own)["error"]
        assert "nomad.tokens.warden: the token may not submit jobs" in found
        assert "consul.tokens.warden: the token may not keep recipes" in found
        found = doctor(stack, config, code=1, **reader, **own)["error"]
        rights = ("list nodes", "submit jobs", "write nomad/jobs/obs-*", *["create volumes"] * makes_volumes)
        for right in rights:
            assert f"nomad: the token may not {right}" in found
        for right in ("write obsctl/obs/", "create the session of a lock"):
            assert f"consul: the token may not {right}" in found
        assert "nomad: the token may not list jobs" not in found
        assert "consul: the token may not read obsctl/obs/" not in found


def nomad_token(address: str) -> str:
    session = Session(Endpoint("Nomad", address, down="", token=TOKEN, token_header="X-Nomad-Token"))
    session.post("/v1/acl/policy/reader", json={"Name": "reader", "Rules": NOMAD_READS})
    token = session.post("/v1/acl/token", json={"Name": "reader", "Type": "client", "Policies": ["reader"]})
    return str(token.json()["SecretID"])


def consul_token(address: str) -> str:
    session = Session(Endpoint("Consul", address, down="", token=TOKEN, token_header="X-Consul-Token"))
    policy = session.put("/v1/acl/policy", json={"Name": "reader", "Rules": CONSUL_READS}).json()
    token = session.put("/v1/acl/token", json={"Policies": [{"ID": policy["ID"]}]})
    return str(token.json()["SecretID"])


def test_the_nodes_look_for_themselves(stack: Stack) -> None:
    addresses = stack.cluster.addresses
    nomad = stack.cluster.nomad
    there = configuration(addresses.nomad, addresses.consul)
    there["components"]["prometheus"]["command"] = "no-such-program"
    there["alerting"] = {
        "receivers": [
            {"name": "team", "email": {"to": "a@b.c", "from": "d@b.c", "smarthost": "no-such-host.invalid:25"}}
        ]
    }
    for _ in range(2):
        found = doctor(stack, there, "--probe", code=1)["error"]
        [node] = nomad.nodes()
        assert f"{node['Name']}: the PATH of its Nomad client lacks no-such-program" in found
        assert f"{node['Name']}: it cannot resolve no-such-host.invalid" in found
        assert nomad.job("obs-doctor-probe")["Stop"]
