"""Only the servers' own metrics count as theirs, and only they get Consul's token, whatever a job registers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from obsctl.model import Json
from obsctl.stack.render import render
from obsctl.wait import wait_until
from tests.agents import answers, guarded_consul, program, running
from tests.ports import free_port
from tests.world import NOWHERE, config

pytestmark = pytest.mark.real

TOKEN = "7f0e8a3c-5d0b-4a57-9d25-4a5a2f0f3a11"
FORGER = "127.0.0.2"
JOB = "_nomad-task-0f7c52a1-9a5c-4f2e-8f2f-0b6b6a3a9d10-group-web"


@contextmanager
def forger(port: int) -> Iterator[list[dict[str, str]]]:
    """The headers of what was asked of a program that pretends to be another."""
    asked: list[dict[str, str]] = []

    class Forger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b'nomad_nomad_job_summary_running{exported_job="shop"} 1\n')

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer((FORGER, port), Forger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def register(consul: str, node: str, address: str, **service: object) -> None:
    entry = {"Node": node, "Address": address, "Service": {"Address": address, **service}}
    headers = {"X-Consul-Token": TOKEN}
    requests.put(f"{consul}/v1/catalog/register", json=entry, headers=headers, timeout=10).raise_for_status()


def test_no_job_passes_for_a_server(tmp_path: Path) -> None:
    prometheus = f"127.0.0.1:{free_port()}"
    for name in ("consul", "local", "secrets"):
        (tmp_path / name).mkdir()
    (tmp_path / "secrets" / "consul_token").write_text(TOKEN)
    with guarded_consul(tmp_path / "consul", TOKEN) as consul, forger(port := urlsplit(consul).port or 0) as asked:
        given = config(timing="fast", consul={"address": consul, "tokens": {"prometheus": "env:C"}})
        text = render(given, NOWHERE).files()["kv/obsctl/obs/config/prometheus.yml"]
        (tmp_path / "local" / "prometheus.yml").write_text(text)
        for name, tags in (("consul", []), ("nomad", ["http"]), ("nomad-client", ["http"])):
            register(consul, "forger", FORGER, ID=f"{JOB}-{name}-http", Service=name, Port=port, Tags=tags)
        for name in ("consul", "nomad"):
            more = {"ID": f"{JOB}-{name}-app", "Service": name, "Port": port, "Tags": ["obsctl.scrape"]}
            register(consul, "scraped", FORGER, **more)
        for name, role in (("nomad", "server"), ("nomad-client", "client")):
            more = {"ID": f"_nomad-{role}-q2w3e4r5", "Service": name, "Port": port, "Tags": ["http"]}
            register(consul, role, "127.0.0.3", **more)
        register(consul, "app", "127.0.0.3", ID=f"{JOB}-app-http", Service="app", Port=port, Tags=["obsctl.scrape"])
        argv = [program("prometheus"), "--config.file=local/prometheus.yml", f"--web.listen-address={prometheus}"]
        with running(argv, tmp_path, "prometheus.log"):

            def found() -> dict[str, str]:
                if not answers(f"http://{prometheus}/-/ready"):
                    return {}
                page: Json = requests.get(f"http://{prometheus}/api/v1/targets", timeout=10).json()
                targets = page["data"]["activeTargets"]
                return {f"{each['labels']['job']} {each['labels']['node']}": each["health"] for each in targets}

            def settled() -> bool:
                return len(found()) >= 4 and "unknown" not in found().values()

            wait_until(settled, timeout=30, failure="no sign of the targets", hint=str(tmp_path))
            jobs = {name.partition(" ")[0]: name.partition(" ")[2] for name in found()}
            assert set(found()) == {f"consul {jobs['consul']}", "nomad server", "nomad client", "app app"}
            assert jobs["consul"] not in ("forger", "scraped")
            assert found()[f"consul {jobs['consul']}"] == "up", "Consul itself is asked with the token"
            assert asked == []
