"""Two gateways on one node: each agent keeps to one of them, and turns to the other when that one is gone."""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from obsctl.cli import wire
from obsctl.clients.protocols import Json
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.conftest import running_cluster
from tests.e2e.stack import ALERT_PATH, Stack, write_config

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("high-availability")]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Traces alone, over two gateways; of all others there is one."""
    folder: Path = tmp_path_factory.mktemp("stack")
    parts = (*ALERT_PATH, "otel-gateway", "otel-agent", "jaeger")
    with running_cluster() as cluster:
        write_config(folder, cluster, components=parts, demo=())
        path = folder / "obsctl.yaml"
        config = json.loads(path.read_text())
        config["components"]["otel-gateway"] = {"count": 2}
        config["components"]["jaeger"]["storage"] = {"kind": "ephemeral"}
        for name in ("prometheus", "alertmanager"):
            config["components"][name]["count"] = 1
        path.write_text(json.dumps({**config, "profile": "ha-one-node"}))
        stack = Stack(cluster, folder)
        stack.run("deploy", "--yes")  # ends when a span of its own has come through
        yield stack


def gateways(stack: Stack) -> list[Json]:
    """The gateways in Consul, in the order in which agents count them."""
    return sorted(
        (entry["Service"] for entry in stack.clients.consul.health("otel-gateway")), key=lambda one: one["ID"]
    )


def test_both_are_scraped_and_so_are_the_metrics_that_they_make(deployed: Stack) -> None:
    targets = deployed.programs.prometheus.targets()
    up = [target["labels"]["job"] for target in targets if target["health"] == "up"]
    assert (up.count("otel-gateway"), up.count("otlp-metrics")) == (2, 2)


def test_a_span_that_was_sent_while_its_gateway_is_frozen_goes_through_the_other(deployed: Stack) -> None:
    node_id = deployed.clients.nomad.nodes()[0]["ID"]
    own = gateways(deployed)[zlib.adler32(node_id.encode()) % 2]
    config, consul = deployed.loaded.config, deployed.clients.consul
    agent, jaeger = wire.otel_agent(config, consul), wire.jaeger(config, consul)

    with frozen(own["Port"]):
        trace_id = secrets.token_hex(16)
        agent.send_span("caller", "sent", trace_id=trace_id, span_id=secrets.token_hex(8), at=SYSTEM_CLOCK.now())
        wait_until(lambda: jaeger.trace(trace_id), timeout=120, what="the span in Jaeger", hint="")

    deployed.run("deploy", "--yes")  # both are scraped again, and spans arrive


@contextmanager
def frozen(port: int) -> Iterator[None]:
    [process] = [each for each in psutil.process_iter() if listens(each, port)]
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
