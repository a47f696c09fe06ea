"""Dynamic host volumes on a real Nomad: made by a deploy, written by the user of the task, kept by an update."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from obsctl.clients.protocols import NomadApi
from obsctl.local.cluster import LocalCluster
from obsctl.model import Json
from obsctl.stack.apply import apply
from obsctl.stack.health import Tools
from obsctl.stack.observe import Desired, DesiredJob, marked, observe
from obsctl.stack.plan import plan
from obsctl.stack.storage import Volume
from obsctl.wait import wait_until
from tests.chroots import chroots_with
from tests.local_cluster import running_cluster

pytestmark = [
    pytest.mark.real,
    pytest.mark.needs(nomad="1.10"),
    pytest.mark.skipif(os.getuid() != 0, reason="Nomad's exec driver and another owner of a folder need root"),
]
NOBODY = 65534
COMPONENT = "alert-sink"  # any that needs no other
JOB = """
job "%(name)s" {
  type = "service"
  group "main" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    update {
      health_check     = "task_states"
      min_healthy_time = "100ms"
    }
    volume "data" {
      type   = "host"
      source = "%(name)s"
    }
    task "main" {
      driver = "exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "id -u >>/data/writers && exec sleep 600"]
      }
      volume_mount {
        volume      = "data"
        destination = "/data"
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    tools = [Path("/bin/sh"), Path("/usr/bin/id"), Path("/usr/bin/sleep")]
    with chroots_with({tool: str(tool) for tool in tools}), running_cluster() as running:
        yield running


@pytest.fixture
def nomad(cluster: LocalCluster) -> NomadApi:
    return cluster.nomad


@pytest.fixture
def name(cluster: LocalCluster, nomad: NomadApi) -> Iterator[str]:
    """A job and its volume; both are gone afterwards."""
    name = f"kept-{uuid4().hex[:8]}"
    yield name
    nomad.stop_job(name)
    wait_until(
        lambda: all(alloc["ClientStatus"] == "complete" for alloc in nomad.job_allocations(name)),
        timeout=30, failure="no sign of the end of the job", hint="",
    )  # fmt: skip
    session = cluster.nomad.session
    for volume in nomad.volumes():
        if volume["Name"] == name:
            session.delete(f"/v1/volume/host/{volume['ID']}")


def deploy(cluster: LocalCluster, nomad: NomadApi, name: str, **keys: object) -> list[str]:
    """What a deploy of this one job changed."""
    consul = cluster.consul
    job: Json = {**nomad.parse_job(JOB % {"name": name}), **keys}
    whole = marked(job, stack=name, component=COMPONENT, spec=str(keys))
    jobs, volumes = (DesiredJob(COMPONENT, name, str(keys), whole),), (Volume(name, COMPONENT, NOBODY),)
    desired = Desired(name, jobs, (), {}, volumes)
    observed = observe(desired, nomad, consul)
    applied = apply(plan(desired, observed), desired, observed, Tools(nomad, consul, lambda _: None, timeout=30))
    return [f"{change.action.value} {change.name}" for change in applied]


def test_a_deploy_makes_the_volume_and_an_update_keeps_its_data(
    cluster: LocalCluster, nomad: NomadApi, name: str
) -> None:
    [node] = nomad.nodes()
    assert deploy(cluster, nomad, name) == [f"create {name} on {node['Name']}", f"create {name}"]
    assert deploy(cluster, nomad, name) == []
    assert deploy(cluster, nomad, name, Priority=70) == [f"update {name}"]

    [volume] = [volume for volume in nomad.volumes() if volume["Name"] == name]
    folder = Path(cluster.nomad.session.get(f"/v1/volume/host/{volume['ID']}").json()["HostPath"])
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (NOBODY, 0o700)
    both = [str(NOBODY)] * 2
    wait_until(
        lambda: (folder / "writers").read_text().split() == both,
        timeout=10,
        failure="no sign of the data of both",
        hint="",
    )
