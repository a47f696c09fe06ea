"""A log store that is there already: lines go to it, its secrets stay secret, and `obsctl logs` reads from Nomad."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsctl.wait import wait_until
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster
from tests.stub_server import Answer, StubServer, stub_server
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("external-logs")]

TENANT = "0123"  # not a number
TOKEN = 'Bearer a$b${c}"d #e\\f $$x'


@dataclass
class Site:
    """A stack of collectors alone, and the store that it sends lines to."""

    stack: Stack
    store: StubServer
    said: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_cluster() as cluster, stub_server() as store:
        store.answers = [Answer(body=b"", headers={"Content-Type": "application/x-protobuf"})]
        stack = Stack(cluster, tmp_path_factory.mktemp("stack"))
        headers = {"X-Scope-OrgID": "env:TENANT", "Authorization": "env:LOGS_TOKEN"}
        write_config(
            stack.folder,
            cluster,
            components=("otel-gateway", "otel-agent"),
            demo=(),
            logs={"endpoint": f"{store.address}/otlp", "headers": headers},
        )
        for name in ALERT_PATH:
            stack.change(name, enabled=False)
        without_ours = json.loads((stack.folder / "obsctl.yaml").read_text())
        del without_ours["components"]["victorialogs"]
        (stack.folder / "obsctl.yaml").write_text(json.dumps(without_ours))
        ended = stack.run("deploy", "--yes", TENANT=TENANT, LOGS_TOKEN=TOKEN)
        yield Site(stack, store, ended.stdout + ended.stderr)


def test_a_deploy_does_not_wait_for_lines_that_it_cannot_read(site: Site) -> None:
    assert "obs-victorialogs" not in site.said
    assert "telemetry path: works" in site.said


def test_lines_come_to_it_with_its_headers(site: Site) -> None:
    def lines() -> list[str]:
        requests = [ExportLogsServiceRequest.FromString(gzip.decompress(asked.body)) for asked in site.store.asked]
        return [
            record.body.string_value
            for request in requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    wait_until(
        lambda: any("Everything is ready" in line for line in lines()),
        timeout=60,
        failure="no sign of lines",
        hint="",
    )
    assert {asked.path for asked in site.store.asked} == {"/otlp/v1/logs"}
    assert {asked.headers["x-scope-orgid"] for asked in site.store.asked} == {TENANT}
    assert {asked.headers["authorization"] for asked in site.store.asked} == {TOKEN}


def test_its_secrets_are_neither_in_consul_nor_in_jobs(site: Site) -> None:
    kept = [entry.value.decode() for entry in site.stack.clients.consul.entries("obsctl/")]
    kept.append(json.dumps([site.stack.clients.nomad.job(job["ID"]) for job in site.stack.clients.nomad.jobs()]))
    assert [text for text in kept if "LOGS_HEADER_0" in text] != []
    assert [text for text in kept if "Bearer" in text] == []


def test_lines_are_read_from_nomad_and_it_is_said(site: Site) -> None:
    ran = site.stack.run("logs", "otel-gateway", "--grep", "everything is ready")
    assert "Everything is ready" in ran.stdout
    assert f"from Nomad at {site.stack.cluster.addresses.nomad}: lines go to {site.store.address}/otlp" in ran.stderr
    assert "from which obsctl cannot read" in site.stack.run("logs", "otel-gateway", "--source", "store", code=1).stderr
