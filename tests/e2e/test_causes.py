"""Each cause of a failure, provoked on a real cluster by a deploy, and said soon after it is certain."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl import rights
from obsctl.clients import connect
from obsctl.config.api_servers import ConsulServer
from obsctl.local.cluster import LocalCluster
from obsctl.stack.causes import UNREADABLE
from obsctl.stack.health import PLACEMENT_GRACE
from obsctl.wait import wait_until
from tests import docker_images
from tests.deployed import DEMO, Stack, write_config
from tests.docker_daemon import daemon
from tests.failing_jobs import CHECKED, FILE, SOON, Deploy, deploy, template
from tests.image_registry import image_registry
from tests.local_cluster import running_cluster
from tests.ports import free_port
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
ON_ONE_CLUSTER = pytest.mark.xdist_group("causes")
TAKEN = "echo listen tcp 127.0.0.1:%s: bind: address already in use >&2; exit 1"
PORT = 'network {\n      port "http" {\n        static = %s\n      }\n    }'
SHOP = """
job "shop" {
  group "g" {
    count = 2 # a node has this port once for each of its addresses
    NETWORK
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
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


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploy]:
    """One deploy with a job for each cause that needs no containers."""
    folder = tmp_path_factory.mktemp("causes")
    with running_cluster() as cluster, socket.create_server(("127.0.0.1", 0)) as holder:
        deny_key(cluster)
        taken = free_port()
        jobs = {
            "prometheus": template(group='constraint {\n attribute = "${meta.rack}"\n value = "r1"\n }'),
            "alertmanager": template().replace("memory = 30", "memory = 9000000"),
            "alert-sink": template(task=FILE % 'key \\"obsctl/obs/nobody-made-this\\"'),
            "warden": template(task=FILE % 'nomadVar \\"nomad/jobs/obs-warden/g\\"'),
            "jaeger": template(task=FILE % 'key \\"obsctl/obs/private\\"'),
            "otel-gateway": template(TAKEN % holder.getsockname()[1]),
            "otel-agent": template(group=PORT % taken),
            "victorialogs": template(group='volume "data" {\n type = "host"\n source = "nobody-made-this"\n }'),
            "hello-service": template("exec touch /sys/data"),
            "response-service": template("echo starting; echo no such option: --frob >&2; exit 3"),
            "traffic": template(group=CHECKED.replace("unready", "traffic")).replace("40s", "15s"),
        }
        write_config(folder, cluster, components=[name for name in jobs if name not in DEMO])
        stack = Stack(cluster, folder)
        stack.cluster.consul.put("obsctl/obs/private", b"secret")
        start_shop(stack, taken)
        yield deploy(stack, jobs)


def deny_key(cluster: LocalCluster) -> None:
    """What reads the templates' keys may not read this one."""
    server = ConsulServer(address=cluster.addresses.consul)
    acl = connect.consul_acl(server, token=cluster.access.consul_management())
    rules = rights.policies("tasks", "obs", "default").consul
    acl.put_policy("obs-tasks", rules + 'key "obsctl/obs/private" { policy = "deny" }\n')


def start_shop(stack: Stack, port: int) -> None:
    """Another team's job, which has this port."""
    nomad = stack.clients.nomad
    nomad.register_job(nomad.parse_job(SHOP.replace("NETWORK", PORT % port)))
    wait_until(lambda: nomad.job_allocations("shop"), timeout=30, failure="no sign of the shop", hint="")


UNPLACED = [
    ("prometheus", r"cannot be placed: group g: \$\{meta.rack\} = r1 \(1 node\)"),
    ("alertmanager", "cannot be placed: group g: memory exhausted on 1 node"),
    ("victorialogs", r"cannot be placed: group g: missing compatible host volumes nobody-made-this \(1 node\)"),
    ("otel-agent", r"cannot be placed: .*; port \d+ is taken by the job shop"),
]
STOPPED = [
    ("alert-sink", "Template", 1, 0.0, "Consul's key obsctl/obs/nobody-made-this, which does not exist"),
    ("warden", "Template", 1, 0.0, "the Nomad Variable nomad/jobs/obs-warden/g, which does not exist"),
    ("jaeger", "Template", 1, UNREADABLE, "obs/private, which is there: it seems that its token may not read it"),
    (
        "otel-gateway",
        "Terminated",
        2,
        0.0,
        r"cannot listen: port \d+ is taken by a program of no other job that obsctl can see",
    ),
    ("hello-service", "Terminated", 2, 0.0, "may not write its data: .*/sys/data"),
    ("response-service", "Terminated", 2, 0.0, "ended with exit code 3; its last line: no such option: --frob"),
]


@ON_ONE_CLUSTER
@pytest.mark.parametrize(("component", "words"), UNPLACED)
def test_what_has_no_place(failed: Deploy, component: str, words: str) -> None:
    assert re.search(words, failed.sentence(f"obs-{component}"))
    assert failed.waited_since_evaluation(f"obs-{component}") < PLACEMENT_GRACE + SOON


@ON_ONE_CLUSTER
@pytest.mark.parametrize(("component", "event", "number", "certain_after", "words"), STOPPED)
def test_what_does_not_heal(
    failed: Deploy, component: str, event: str, number: int, certain_after: float, words: str
) -> None:
    """certain_after: seconds from that event. Nomad's own deadline is 40 s."""
    job = f"obs-{component}"
    assert re.search(f"{job}: task g/t on nomad-client .*{words}", failed.sentence(job))
    assert failed.waited(job, event, number) < certain_after + SOON


@ON_ONE_CLUSTER
def test_a_check_that_does_not_pass_has_its_output(failed: Deploy) -> None:
    sentence = failed.sentence("obs-traffic")
    assert "group g on nomad-client runs, but the check of its service traffic fails: ready: " in sentence
    assert re.search("connection refused|connect:", sentence)
    assert failed.waited("obs-traffic", "Alloc Unhealthy") < SOON


@ON_ONE_CLUSTER
def test_status_says_the_same(failed: Deploy) -> None:
    shown = {row["component"]: row["note"] for row in failed.stack.json("status", code=None)["components"]}
    assert "which does not exist" in shown["alert-sink"]


def in_docker(image: str, script: str) -> str:
    config = f'image = "{image}"\n        network_mode = "host"\n        command = "python3"'
    return template(script).replace("raw_exec", "docker").replace('command = "/bin/sh"', config)


@pytest.mark.xdist_group("nodes")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker of its own")
def test_an_image_that_is_not_there_and_a_container_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry").mkdir()
    with daemon() as docker, image_registry(tmp_path / "registry") as registry:
        for name, value in docker.environ.items():
            monkeypatch.setenv(name, value)
        docker_images.build_base(docker, tmp_path)
        image = f"{docker_images.BASE}:1"  # what has no version of its own is always pulled
        docker.run("tag", docker_images.BASE, image)
        jobs = {
            "jaeger": in_docker(f"{registry.host}/nobody-made-this:1", "pass"),
            "victorialogs": in_docker(image, "b'x' * 2**28"),
        }
        with running_cluster() as cluster:
            write_config(tmp_path, cluster, components=jobs, demo=())
            stack = Stack(cluster, tmp_path)
            for name in ALERT_PATH:
                stack.change(name, enabled=False)
            failed = deploy(stack, jobs)
            assert re.search("cannot get the image .*/nobody-made-this:1: .*unknown", failed.sentence("obs-jaeger"))
            assert failed.waited("obs-jaeger", "Driver Failure") < SOON
            assert "ran out of its memory of 30 MB and was killed" in failed.sentence("obs-victorialogs")
            assert failed.waited("obs-victorialogs", "Terminated", 2) < SOON
