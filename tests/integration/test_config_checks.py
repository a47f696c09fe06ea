"""What is rendered, before the programs that will read it: promtool, amtool and Nomad's own parser."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from obsctl.local.binaries import Binaries
from obsctl.model import Severity
from obsctl.stack.checks import TOOLS, check
from obsctl.stack.render import Rendered
from tests.agents import answers, running, task, until_it_answers
from tests.goldens import NAMES, rendered

pytestmark = pytest.mark.real


def program(name: str) -> Path:
    return Binaries().provide(name).path


@pytest.fixture(scope="module")
def tools() -> dict[str, Path | None]:
    return {name: program(name) for name in TOOLS}


def with_content(stack: Rendered, part: str, value: str) -> Rendered:
    changed = [replace(item, value=value) if item.key.endswith(part) else item for item in stack.content]
    return Rendered(stack.stack, stack.jobs, tuple(changed), stack.secrets)


@pytest.mark.parametrize("name", NAMES)
def test_the_programs_that_will_read_it_find_nothing_wrong(name: str, tools: dict[str, Path | None]) -> None:
    assert check(rendered(name), tools) == []


def test_a_stack_without_any_rule_passes_too(tools: dict[str, Path | None]) -> None:
    stack = rendered("relaxed")
    files = tuple(item for item in stack.content if "/rules/" not in item.key)
    assert check(Rendered(stack.stack, stack.jobs, files, stack.secrets), tools) == []


@pytest.mark.parametrize(
    ("part", "value", "where", "words"),
    [
        ("config/prometheus.yml", "scrape_configs: [{}]\n", "prometheus.yml", "promtool refuses it: .*job_name"),
        ("config/alertmanager.yml", "route: {receiver: nobody}\n", "alertmanager.yml", "amtool refuses it: .*nobody"),
        ("config/otel-agent.yml", "receivers: {otlq: {}}\n", "otel-agent.yml", "otelcol refuses it: .*otlq"),
        (
            "config/otel-gateway.yml",
            "exporters: {otlp_http: {}}\n",
            "otel-gateway.yml",
            "otelcol refuses it: .*endpoint",
        ),
        ("config/jaeger.yml", "extensions: {jaeger_query: {storage: {}}}\n", "jaeger.yml", "jaeger refuses it: .*"),
        ("rules/stack", "- {name: stack, rules: [{alert: A, expr: up, for: soon}]}\n", "alert rules", "soon"),
    ],
)
def test_they_find_what_is_wrong(part: str, value: str, where: str, words: str, tools: dict[str, Path | None]) -> None:
    [finding] = check(with_content(rendered("laptop"), part, value), tools)
    assert (finding.severity, finding.where) == (Severity.ERROR, where)
    assert re.search(words, finding.what), finding.what


@pytest.mark.parametrize("name", NAMES)
def test_nomad_reads_every_job(name: str, tmp_path: Path) -> None:
    nomad = program("nomad")
    for job in rendered(name).jobs:
        file = tmp_path / f"{job.job_id}.nomad.hcl"
        file.write_text(job.hcl, encoding="utf-8")
        ended = subprocess.run([nomad, "job", "run", "-output", file], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{job.job_id}: {ended.stderr}"
        assert json.loads(ended.stdout)["Job"]["ID"] == job.job_id


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("collector", ["agent", "gateway"])
def test_a_collector_starts_with_it_and_finds_nothing_deprecated(collector: str, name: str, tmp_path: Path) -> None:
    """Without what its job adds: that may be older, and know nothing of what is new."""
    [text] = [item.value for item in rendered(name).content if item.key.endswith(f"config/otel-{collector}.yml")]
    (tmp_path / "collector.yml").write_text(text)
    environ = task("grpc", "http", "health") | {
        "NOMAD_ALLOC_DIR": str(tmp_path),
        "HOST_AT": "",
        "HOST_ROOT": "",
        "HOST_MOUNTS": ".",
    }
    environ |= dict.fromkeys(("NODE_ID", "NODE_NAME", "DATACENTER"), "x")
    with running([str(program("otelcol")), "--config=collector.yml"], tmp_path, **environ):
        until_it_answers(lambda: answers(f"http://{environ['NOMAD_ADDR_health']}"), tmp_path)
    log = (tmp_path / "log").read_text()
    assert "Everything is ready" in log
    assert [line for line in log.splitlines() if re.search("deprecat|renamed|alias", line, re.IGNORECASE)] == []
