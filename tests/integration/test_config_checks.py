"""What is rendered, before the programs that will read it: promtool, amtool and Nomad's own parser."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from obsctl.local import binaries
from obsctl.model import Severity
from obsctl.stack.checks import check
from obsctl.stack.render import Rendered
from tests.golden.cases import NAMES, rendered

pytestmark = pytest.mark.real

TASK_VARIABLE = re.compile(r"\$\{env:(\w+)\}")


def program(name: str) -> Path:
    return binaries.obtain(name, {}, emit=lambda _: None)


@pytest.fixture(scope="module")
def tools() -> dict[str, Path | None]:
    return {name: program(name) for name in ("promtool", "amtool")}


def with_content(stack: Rendered, part: str, value: str) -> Rendered:
    changed = [replace(item, value=value) if item.key.endswith(part) else item for item in stack.content]
    return Rendered(stack.stack, stack.jobs, tuple(changed), stack.secrets)


@pytest.mark.parametrize("name", NAMES)
def test_promtool_and_amtool_find_nothing_wrong(name: str, tools: dict[str, Path | None]) -> None:
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
        ("rules/stack", "- {name: stack, rules: [{alert: A, expr: up, for: soon}]}\n", "alert rules", "soon"),
    ],
)
def test_they_find_what_is_wrong(part: str, value: str, where: str, words: str, tools: dict[str, Path | None]) -> None:
    [finding] = check(with_content(rendered("relaxed"), part, value), tools)
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
def test_a_collectors_configuration_is_whole_without_what_its_job_adds(
    collector: str, name: str, tmp_path: Path
) -> None:
    """It comes before the job does: an older one reads it beside a file that knows nothing of what is new."""
    file = tmp_path / "collector.yml"
    for item in rendered(name).content:
        if item.key.endswith(f"config/otel-{collector}.yml"):
            file.write_text(item.value)
            given = {each: "1" if "_PORT_" in each else "127.0.0.1:1" for each in TASK_VARIABLE.findall(item.value)}
            command = [program("otelcol"), "validate", f"--config={file}"]
            ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stderr
    assert file.exists()
