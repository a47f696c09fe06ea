"""A locked image: what Nomad's docker driver pulls from a mirror is what the lock file says, whatever the tag means."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from obsctl.config.schema import Config
from tests import docker_images
from tests.deployed import Stack, write_config
from tests.docker_daemon import Docker, daemon
from tests.image_registry import ImageRegistry, image_registry
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("nodes"),  # each is much: never Docker beside machines
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker of its own"),
]

JAEGER = Config().components.jaeger.image


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Docker]:
    with daemon() as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def mirror(docker: Docker, tmp_path: Path) -> Iterator[ImageRegistry]:
    """Holds Jaeger's image, which Docker itself has not got."""
    [official] = [image for image in docker_images.officials(Config()) if image.name == JAEGER]
    docker_images.build(docker, official, tmp_path)
    with image_registry(tmp_path) as registry:
        there = f"{registry.host}/{JAEGER}"
        docker.run("tag", JAEGER, there)
        docker.run("push", there)
        docker.run("rmi", there, JAEGER)
        yield registry


def test_nodes_pull_the_locked_digest(docker: Docker, mirror: ImageRegistry, tmp_path: Path) -> None:
    with running_cluster() as cluster:
        stack = Stack(cluster, tmp_path)
        images: dict[str, Any] = {"registry": mirror.host}
        write_config(tmp_path, cluster, components=("jaeger",), demo=(), driver="docker", images=images)
        leave_jaeger_alone(tmp_path / "obsctl.yaml")
        locked = stack.json("lock")["images"]
        mirror.push(JAEGER.partition(":")[0], JAEGER.partition(":")[2])  # the tag means something else from now on
        stack.run("deploy", "--yes")
        [container] = docker.inspect(*docker.containers())
        digest = f"{mirror.host}/{JAEGER.partition(':')[0]}@{locked[JAEGER]}"
        [image] = docker.inspect(str(container["Image"]))
        assert image["RepoDigests"] == [digest]
        assert stack.json("plan")["counts"]["update"] == 0
        assert "is out of date: " + JAEGER in stack.run("lock", "--check", code=1).stderr


def leave_jaeger_alone(file: Path) -> None:
    """In memory, so that it needs no host volume."""
    config = json.loads(file.read_text())
    off = {name: {"enabled": False} for name in ALERT_PATH}
    jaeger = {**config["components"]["jaeger"], "storage": {"kind": "ephemeral"}}
    file.write_text(json.dumps({**config, "components": {**config["components"], **off, "jaeger": jaeger}}))
