"""Rule files as people have them: they reach Prometheus as they stand, and a deploy with them ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from obsctl.model import Json
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

TYPES = """
groups:
  - name: types
    rules:
      - alert: QueueStuck
        expr: shop_queue_length > 100
        for: 5m
        labels:
          severity: warning
          service: checkout
          country: NO
          page: off
          window: 22:30
          rack: 010
          account: 4_000
          build: 0x1f
          date: 2024-05-01
          since: 2024-05-01T10:00:00Z
          ratio: 1.50
          big: 12345678901234567890
          exp: 1.0e+3
        annotations: {threshold: 1.10, on_call: yes}
"""
GROUP_LABELS = """
groups:
  - name: group labels
    labels: {team: shop, page: no}
    rules:
      - alert: QueueStuck
        expr: shop_queue_length > 100
        labels: {severity: warning, service: checkout, empty: ~, page: on}
"""
DURATIONS = """
groups:
  - name: durations
    interval: 1m30s
    rules:
      - {alert: CertificateTooOld, expr: shop_cert_age_seconds > 1, for: 1y, keep_firing_for: 1w1d}
      - alert: QueueStuck
        expr: shop_queue_length > 1
        for:
      - {alert: QueueFull, expr: shop_queue_length > 2, for: 0, labels: }
"""
NEWER = """
groups:
  - name: newer
    rules:
      - {record: shop:raw, expr: 'shop_requests_total{path=~`^/api/\\d+$`}'}
      - {record: shop:million, expr: shop_bytes > 1_000_000}
      - {record: shop:window, expr: 'rate(shop_requests_total[5m * 2])'}
      - &base {record: shop:info, expr: "sum by(job)(up)   # how many", labels: {of: 1}}
      - {<<: *base, record: shop:again}
"""
EMPTY = "# what used to be here has moved\n"


@pytest.fixture
def with_rules(stack: Stack) -> Iterator[Callable[..., Path]]:
    """Gives the stack rule files for one test, and says where they are."""
    path = stack.folder / "obsctl.yaml"
    before = path.read_text()
    folder = stack.folder / "rules"

    def write(*texts: str, **overrides: Json) -> Path:
        folder.mkdir(exist_ok=True)
        for number, text in enumerate(texts):
            (folder / f"{number}.yml").write_text(text)
        alerting = {"rule_files": ["rules/*.yml"], "rules": overrides}
        path.write_text(json.dumps({**json.loads(before), "alerting": alerting}))
        return folder

    yield write
    path.write_text(before)
    stack.run("deploy", "--yes")
    for file in folder.glob("*"):
        file.unlink()


def loaded(stack: Stack, group: str) -> list[dict[str, Any]]:
    groups = {each["name"]: each["rules"] for each in stack.programs.prometheus.rule_groups()}
    return list(groups[group])


def test_all_that_prometheus_takes_is_deployed_as_it_stands(stack: Stack, with_rules: Callable[..., Path]) -> None:
    with_rules(TYPES, GROUP_LABELS, DURATIONS, NEWER, EMPTY)

    stack.run("deploy", "--yes", "--timeout", "60")

    [stuck] = loaded(stack, "types")
    [written] = yaml.load(TYPES, yaml.BaseLoader)["groups"][0]["rules"]
    assert (stuck["labels"], stuck["annotations"]) == (written["labels"], written["annotations"])
    [stuck] = loaded(stack, "group labels")
    assert (stuck["labels"]["team"], stuck["labels"]["page"]) == ("shop", "on")
    assert [rule["duration"] for rule in loaded(stack, "durations")] == [31_536_000, 0, 0]
    assert [rule["health"] for rule in loaded(stack, "newer")] != []
    assert "Nothing to change" in stack.run("deploy", "--yes", "--timeout", "60").stdout


def test_an_override_changes_what_it_names_alone(stack: Stack, with_rules: Callable[..., Path]) -> None:
    with_rules(TYPES, QueueStuck={"severity": "info", "labels": {"page": "no"}})

    stack.run("deploy", "--yes", "--timeout", "60")

    [stuck] = loaded(stack, "types")
    [written] = yaml.load(TYPES, yaml.BaseLoader)["groups"][0]["rules"]
    assert stuck["labels"] == {**written["labels"], "severity": "info", "page": "no"}


def test_all_faults_are_told_at_once_with_the_users_file_and_line(
    stack: Stack, with_rules: Callable[..., Path]
) -> None:
    broken = "groups:\n- name: a\n  rules:\n  - {alert: A, expr: sum(up}\n  - {record: b, expr: 'up['}\n"
    unknown = "groups:\n- name: b\n  rules: [{alert: A, expr: up, fro: 5m}]\n"
    operator = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec: {groups: []}\n"
    folder = with_rules(broken, unknown, operator, TYPES, TYPES + TYPES.removeprefix("\ngroups:\n"))

    ended = stack.run("validate", code=1)

    assert f'{folder}/0.yml:4: promtool refuses it: group "a", rule 1, "A": could not parse' in ended.stderr
    assert f'{folder}/0.yml:5: promtool refuses it: group "a", rule 2, "b": could not parse' in ended.stderr
    assert f"{folder}/1.yml:3: promtool refuses it: field fro not found" in ended.stderr
    assert f"{folder}/2.yml: is a Kubernetes object, a PrometheusRule of the Prometheus Operator" in ended.stderr
    assert f'{folder}/4.yml: promtool refuses it: groupname: "types" is repeated in the same file' in ended.stderr
    assert "obsctl-check-" not in ended.stderr
