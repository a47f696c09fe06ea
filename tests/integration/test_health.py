"""The gate after a job, with jobs of every type on a real Nomad."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from obsctl.clients.protocols import NomadApi
from obsctl.local.cluster import LocalCluster
from obsctl.model import Json
from obsctl.stack import health
from obsctl.stack.health import Tools, Unhealthy, wait_healthy
from obsctl.wait import wait_until

pytestmark = pytest.mark.real

JOB = """
job "%(name)s" {
  type = "%(kind)s"
  group "main" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    update {
      health_check     = "task_states"
      min_healthy_time = "100ms"
    }
    network {
      port "http" {}
    }
    service {
      name     = "%(name)s"
      port     = "http"
      provider = "consul"
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "%(script)s"]
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"""
Deploy = Callable[..., None]


@pytest.fixture
def nomad(cluster: LocalCluster) -> NomadApi:
    return cluster.nomad


@pytest.fixture
def deploy(cluster: LocalCluster, nomad: NomadApi) -> Iterator[Deploy]:
    """Register a job of this type with this script and these keys, and wait at the gate."""
    name = f"gate-{uuid4().hex[:8]}"
    consul = cluster.consul

    def deploy(kind: str, script: str, **keys: object) -> None:
        hcl = JOB % {"name": name, "kind": kind, "script": script}
        job: Json = {**nomad.parse_job(hcl), **keys}
        eval_id = nomad.register_job(job)
        wait_healthy(Tools(nomad, consul, emit=lambda _: None, timeout=30), name, eval_id)

    yield deploy
    nomad.stop_job(name)
    wait_until(
        lambda: all(alloc["ClientStatus"] not in ("pending", "running") for alloc in nomad.job_allocations(name)),
        timeout=30, failure="no sign of the end of the job", hint="",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["service", "system"])
def test_a_job_and_its_next_version_pass(deploy: Deploy, nomad: NomadApi, kind: str) -> None:
    deploy(kind, "exec sleep 600")
    deploy(kind, "exec sleep 601")
    deploy(kind, "exec sleep 601")  # nothing changes


@pytest.mark.parametrize("kind", ["service", "system"])
def test_one_that_exits_is_told_with_its_last_words(deploy: Deploy, kind: str) -> None:
    with pytest.raises(Unhealthy, match=r"(?s)failed.*main \| no port left"):
        deploy(kind, "echo no port left >&2; exit 1")


@pytest.mark.parametrize("kind", ["service", "system"])
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"Constraints": [{"LTarget": "${node.unique.name}", "RTarget": "nobody", "Operand": "="}]}, "nobody"),
        ({"Datacenters": ["nowhere"]}, "no node is eligible in the job's datacenters"),
    ],
)
def test_one_that_no_node_takes_says_why(
    deploy: Deploy, kind: str, keys: Json, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PLACEMENT_GRACE", 2.0)
    with pytest.raises(Unhealthy, match=f"cannot be placed: .*{words}"):
        deploy(kind, "exec sleep 600", **keys)
