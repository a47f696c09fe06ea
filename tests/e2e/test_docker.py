"""The stack in containers: official names, users, entrypoints and paths, and data in host volumes.

The images are made on the spot from this machine's servers; tests/docker_images.py says what is official in them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.config.schema import Config
from obsctl.local.machines import CLIENT
from obsctl.stack import storage
from obsctl.stack.render import render
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests import docker_images, needs
from tests.deployed import TELEMETRY, Stack, node_disks, owners_below, write_config
from tests.deployed_telemetry import SERVICES, Telemetry
from tests.docker_daemon import Docker, daemon
from tests.image_registry import image_registry
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH, NOWHERE

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("nodes"),  # each is much: never Docker beside machines
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker of its own"),
]
DYNAMIC = {"nomad": "1.10"}  # since when it can make a volume


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A Docker that has all the images, and nothing else."""
    with daemon() as running, pytest.MonkeyPatch.context() as environ:
        for name, value in running.environ.items():
            environ.setenv(name, value)
        folder = tmp_path_factory.mktemp("images")
        for image in docker_images.officials(Config()):
            docker_images.build(running, image, folder)
        docker_images.build_own(running, folder)
        docker_images.build_grafana(running, folder)
        yield running


@pytest.fixture(scope="module")
def stack(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack and the demo, deployed with driver docker on a cluster of its own."""
    with running_cluster() as cluster:
        stack = Stack(cluster, tmp_path_factory.mktemp("stack"))
        write_config(stack.folder, cluster, components=(*ALERT_PATH, *TELEMETRY, "grafana"), driver="docker")
        if not needs.lacking(DYNAMIC):
            stack.change("victorialogs", storage={"kind": "dynamic"})
        cluster.up(host_volumes=storage.host_volumes(stack.loaded.config))
        stack.run("deploy", "--yes")
        yield stack
    assert docker.containers() == []


ALLOCATION = "-00000000-0000-0000-0000-000000000000"


def running(docker: Docker) -> dict[str, dict[str, Any]]:
    """Task -> its container; Nomad calls them <task>-<allocation>."""
    return {str(found["Name"])[1 : -len(ALLOCATION)]: found for found in docker.inspect(*docker.containers())}


def healthy(stack: Stack) -> bool:
    rows = stack.json("status", code=None).get("components")  # none while the cluster does not answer yet
    return bool(rows) and all(row["state"] == "healthy" for row in rows)


def test_each_component_runs_in_its_image_as_the_user_of_the_image(stack: Stack, docker: Docker) -> None:
    components = stack.loaded.config.enabled_components()
    containers = running(docker)
    sidecar = containers.pop("log-links")
    assert sidecar["Config"]["User"] == "root"  # whose log files are
    status = Path(f"/proc/{sidecar['State']['Pid']}/status").read_text()
    assert "CapEff:\t0000000000000000\n" in status
    assert sorted(containers) == sorted(component.row.name for component in components)
    for component in components:
        name = component.row.name
        container = containers[name]
        assert container["Config"]["Image"] == component.image
        assert not container["HostConfig"]["Privileged"]
        assert container["HostConfig"]["NetworkMode"] == "host"
        uids = psutil.Process(container["State"]["Pid"]).uids()
        assert set(uids) == {component.row.uid}, f"{name} runs as {uids}"


def test_everything_is_scraped(stack: Stack) -> None:
    wanted = {component.row.name for component in stack.loaded.config.enabled_components()}

    def up() -> set[str]:
        return {row["metric"]["job"] for row in stack.programs.prometheus.query("up == 1")}

    wait_until(
        lambda: wanted <= up() and not stack.not_up(), timeout=30, failure="no sign of a scrape of each", hint=""
    )


def test_a_request_is_found_as_trace_and_log_lines(stack: Stack) -> None:
    telemetry, since = Telemetry(stack), SYSTEM_CLOCK.now()
    trace = telemetry.say_hello(telemetry.address("hello-service"))

    def seen() -> bool:
        services = {service for service, _ in telemetry.spans(trace)}
        lines = {service for service, found in telemetry.log_traces(since) if found == trace}
        return services >= set(SERVICES) and lines >= set(SERVICES)

    wait_until(seen, timeout=60, failure=f"no sign of trace {trace} of both services and their lines", hint="")


def test_the_agent_reads_the_logs_of_other_containers_from_nomads_folder(stack: Stack) -> None:
    """Alertmanager speaks of its start, and sends nothing by OTLP."""
    telemetry, since = Telemetry(stack), SYSTEM_CLOCK.now() - 3600
    query = '{"nomad.job"="obs-alertmanager"}'
    wait_until(lambda: telemetry.lines(query, since), timeout=60, failure="no sign of lines of Alertmanager", hint="")


def test_the_agent_sees_the_nodes_disks_by_their_names_there(stack: Stack) -> None:
    disks = node_disks(stack)
    node = os.statvfs("/")
    assert disks["/"] == pytest.approx((node.f_blocks - node.f_bfree) * node.f_frsize, rel=0.1)
    assert not [name for name in disks if name.startswith(("/host", "/nomad-alloc", "/var/lib/otelcol"))]


def test_grafanas_files_are_where_its_image_looks_for_them(stack: Stack, docker: Docker) -> None:
    """A stand-in tells what arrived: Grafana itself cannot be had here. tests/e2e/test_grafana.py looks closer."""
    telemetry = Telemetry(stack)
    found = telemetry.http.get(f"{telemetry.address('grafana')}/stand-in", timeout=10).json()
    prefix = "obsctl/obs/"
    content = {item.key.removeprefix(prefix): item.value for item in render(stack.loaded.config, NOWHERE).content}
    assert found["provisioning"] == {
        "datasources/obsctl.yml": content["config/datasources.yml"],
        "dashboards/obsctl.yml": content["config/dashboards.yml"],
    }
    boards = {f"{key.removeprefix('dashboards/')}.json": text for key, text in content.items() if "dashboards/" in key}
    assert boards
    assert found["dashboards"] == boards
    wanted = ("prometheus", "alertmanager", "jaeger", "victorialogs")
    assert found["urls"] == {f"{name.upper()}_URL": telemetry.address(name) for name in wanted}
    password = stack.run("secrets", "show", "grafana-admin").stdout.strip()
    assert found["sha256"]["security.admin_password"] == hashlib.sha256(password.encode()).hexdigest()
    assert (found["uid"], found["arguments"], found["data_is_writable"]) == (472, [], True)
    assert "not Grafana" in running(docker)["grafana"]["Config"]["Labels"]["obsctl.stand-in"]


def test_a_drill_proves_the_alert_path(stack: Stack) -> None:
    stack.wait_steady()
    verdict = stack.json("drill", "stop", "response-service", "--yes", code=None)["verdict"]
    assert verdict["outcome"] in ("PROVEN", "LATE"), verdict


def test_data_survives_a_restart_of_the_jobs(stack: Stack) -> None:
    address = f"http://127.0.0.1:{stack.loaded.config.components.alertmanager.port}"
    alertmanager = Session(Endpoint("Alertmanager", address, down=""))
    now, moment = datetime.now(UTC), SYSTEM_CLOCK.now()
    silence = {
        "matchers": [{"name": "alertname", "value": "Nothing", "isRegex": False}],
        "comment": "kept", "createdBy": "test",
        "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    assert alertmanager.post("/api/v2/silences", json=silence).ok
    for name in ("prometheus", "alertmanager", "alert-sink"):
        stack.clients.nomad.stop_job(f"obs-{name}")
    stack.run("deploy", "--yes")
    assert "kept" in [found["comment"] for found in stack.programs.alertmanager.silences()]
    assert stack.programs.prometheus.query(f'up{{job="prometheus"}} @ {moment:.3f}'), "the samples of before are gone"
    assert stack.programs.sink.notifications(since=0.0, alertname="ServiceDown"), "the notifications of before are gone"


def test_data_is_in_host_volumes_and_belongs_to_the_user_of_the_image(stack: Stack) -> None:
    """After a restart, because Alertmanager writes when it ends. The stand-in for Grafana writes nothing."""
    folder, volumes = stack.cluster.folder, storage.host_volumes(stack.loaded.config)
    assert {path.name for path in folder.host_volumes()} == set(volumes)
    owners = {path.name: owners_below(path) for path in folder.host_volumes() if path.name != "obs-grafana"}
    assert owners == {name: {volumes[name]} for name in owners}


@pytest.mark.needs(**DYNAMIC)
def test_what_nomad_made_for_the_logs_belongs_to_the_user_of_the_image(stack: Stack) -> None:
    assert owners_below(stack.cluster.folder.path / "data" / CLIENT / "host_volumes") == {0}


@pytest.mark.campaign
def test_the_stack_goes_and_comes_with_the_cluster(stack: Stack, docker: Docker) -> None:
    stack.cluster.down()
    assert docker.containers() == []
    stack.cluster.up()
    wait_until(lambda: healthy(stack), timeout=120, interval=2, failure="no sign of every component", hint="")


@pytest.mark.campaign
def test_make_push_puts_the_image_where_it_is_told(docker: Docker, tmp_path: Path) -> None:
    image = Config().components.alert_sink.image
    with image_registry(tmp_path) as registry:
        docker_images.make(docker, "push", f"REGISTRY={registry.host}/team")
        docker.run("image", "rm", f"{registry.host}/team/{image}")
        docker.run("pull", f"{registry.host}/team/{image}")
