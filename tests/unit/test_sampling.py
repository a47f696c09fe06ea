"""Which traces Jaeger gets: what the collectors are told, and when agents choose a gateway by the trace."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from obsctl.config.telemetry import Sampling
from obsctl.stack.render import render
from obsctl.stack.telemetry_path import SERVICE
from tests.world import NOWHERE, config

BY_TRACE = ["loadbalancing/gateway"]
AS_EVER = ["otlp_http/gateway"]


def files(sampling: dict[str, Any] | None, *, jaeger: bool = True, **gateway: Any) -> dict[str, str]:
    parts = {
        "jaeger": {"enabled": jaeger},
        "otel-agent": {"enabled": True},
        "otel-gateway": {"enabled": True, "sampling": sampling, **gateway},
    }
    return render(config(components=parts), NOWHERE).files()


def collector(name: str, sampling: dict[str, Any] | None, **more: Any) -> Any:
    return yaml.safe_load(files(sampling, **more)[f"kv/obsctl/obs/config/{name}.yml"])


def policies(**sampling: Any) -> dict[str, Any]:
    found = collector("otel-gateway", sampling)["processors"]["tail_sampling"]["policies"]
    return {each["name"]: each[each["type"]] for each in found}


def test_all_are_kept_unless_something_else_is_said() -> None:
    gateway = collector("otel-gateway", None)
    assert "tail_sampling" not in gateway["processors"]
    assert gateway["service"]["pipelines"]["traces"]["exporters"] == ["otlp_grpc/jaeger", "span_metrics"]


def test_what_is_kept_follows_the_configuration() -> None:
    own = {"key": "service.name", "values": [SERVICE]}
    assert policies() == {
        "share": {"sampling_percentage": 10},
        "errors": {"status_codes": ["ERROR"]},
        "deploy": own,
    }
    assert policies(keep=0.5, errors=False, slower_than="1m500ms") == {
        "share": {"sampling_percentage": 0.5},
        "slow": {"threshold_ms": 60500},
        "deploy": own,
    }


def test_span_metrics_see_every_span_and_jaeger_what_is_kept() -> None:
    lines = collector("otel-gateway", {})["service"]["pipelines"]
    assert lines["traces"] == {"receivers": ["otlp"], "processors": ["memory_limiter"], "exporters": ["span_metrics"]}
    assert lines["traces/sampled"]["processors"] == ["memory_limiter", "tail_sampling"]
    assert lines["traces/sampled"]["exporters"] == ["otlp_grpc/jaeger"]


def test_what_waits_in_memory_follows_from_the_memory_there_is() -> None:
    found = collector("otel-gateway", {"wait": "20s"}, resources={"memory": 100})["processors"]["tail_sampling"]
    caches = {"sampled_cache_size": 20_000, "non_sampled_cache_size": 20_000}
    assert (found["decision_wait"], found["num_traces"], found["decision_cache"]) == ("20s", 2000, caches)


@pytest.mark.parametrize(
    ("sampling", "count", "jaeger", "exporters"),
    [
        ({}, 2, True, BY_TRACE),
        ({}, 1, True, AS_EVER),
        (None, 2, True, AS_EVER),
        ({}, 2, False, AS_EVER),
    ],
)
def test_agents_choose_by_trace_where_one_of_several_must_see_all_of_it(
    sampling: dict[str, Any] | None, count: int, jaeger: bool, exporters: list[str]
) -> None:
    found = files(sampling, count=count, jaeger=jaeger)
    agent = yaml.safe_load(found["kv/obsctl/obs/config/otel-agent.yml"])
    assert agent["service"]["pipelines"]["traces"]["exporters"] == exporters
    assert agent["service"]["pipelines"]["metrics"]["exporters"] == AS_EVER
    told = exporters == BY_TRACE
    jobs = found["jobs/obs-otel-agent.nomad.hcl"], found["jobs/obs-otel-gateway.nomad.hcl"]
    assert ["hostnames" in jobs[0], 'name     = "otel-gateway-grpc"' in jobs[1]] == [told, told]
    assert ("loadbalancing" in str(agent["exporters"])) == told


def test_spans_on_their_way_are_kept_on_disk_and_not_beneath_where_they_would_be_lost_with_a_gateway() -> None:
    exporters = collector("otel-agent", {}, count=2)["exporters"]
    upper, lower = exporters["loadbalancing/gateway"], exporters["loadbalancing/gateway"]["protocol"]["otlp"]
    plain = exporters["otlp_http/gateway"]
    assert all(upper[key] == plain[key] for key in ("sending_queue", "retry_on_failure"))
    assert upper["retry_on_failure"]["enabled"]
    assert lower["sending_queue"] == lower["retry_on_failure"] == {"enabled": False}


@pytest.mark.parametrize(
    "sampling",
    [{"keep": -1}, {"keep": 100.1}, {"keep": "10%"}, {"slower_than": "0s"}, {"wait": "500ms"}, {"wait": "2m"}],
)
def test_values_that_make_no_sense_are_refused(sampling: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(sampling))):
        Sampling.model_validate(sampling)
