"""A deploy that changes a file alone ends when the program runs with it, or says why it does not."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from obsctl import assets
from obsctl.clients.instances import url
from obsctl.clients.programs import endpoint
from obsctl.clients.telemetry_apis import JaegerClient
from obsctl.wait import wait_until
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster
from tests.otlp import send_spans, span
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("reload")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Jaeger, which keeps traces in memory, and a way to it, on a cluster of their own."""
    with running_cluster() as cluster:
        stack = Stack(cluster, tmp_path_factory.mktemp("stack"))
        write_config(stack.folder, cluster, components=("jaeger", "otel-gateway"), demo=())
        for name in ALERT_PATH:
            stack.change(name, enabled=False)
        stack.change("jaeger", storage={"kind": "ephemeral"})
        stack.run("deploy", "--yes")
        yield stack


def kept(stack: Stack) -> int:
    """How many of four new traces the Jaeger that runs now keeps.

    They come one after the other: of those that come together any may be the first to go.
    """
    addresses = (url(stack.clients.consul.health(name)[0]) for name in ("otel-gateway", "jaeger"))
    gateway, jaeger = next(addresses), JaegerClient(endpoint("jaeger", next(addresses)))
    trace_ids = [uuid4().hex for _ in range(4)]
    for each in trace_ids:
        send_spans(gateway, [span("web", "GET", "1", trace_id=each, start=time.time_ns())])
        wait_until(functools.partial(jaeger.trace, each), timeout=30, failure="no sign of the newest trace", hint="")
    return sum(bool(jaeger.trace(each)) for each in trace_ids)


def test_the_program_runs_with_what_was_changed(stack: Stack) -> None:
    before = kept(stack)
    stack.change("jaeger", max_traces=2)
    stack.run("deploy", "--yes")
    assert (before, kept(stack)) == (4, 2)


def test_a_file_that_the_program_does_not_run_with_ends_the_deploy_with_its_words(stack: Stack) -> None:
    """It is well-formed, so nothing is found before; but the address is another machine's."""
    shipped = assets.shipped() / "templates" / "jaeger" / "jaeger.yml.j2"
    own = stack.folder / "templates" / "jaeger" / "jaeger.yml.j2"
    own.parent.mkdir(parents=True)
    own.write_text(shipped.read_text().replace("${env:NOMAD_ADDR_http}", "192.0.2.1:16686"))

    ended = stack.run("deploy", "--yes", code=1)

    assert "obs-jaeger does not run with the new config/jaeger.yml" in ended.stderr
    assert "cannot assign requested address" in ended.stderr
    assert "changed: nothing" in ended.stderr

    own.unlink()
    stack.run("deploy", "--yes")
    assert kept(stack) == 2
