"""Every shipped rule fires when it should and not otherwise, by promtool's own tests in alert-rules/tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from obsctl.assets import shipped
from obsctl.content import rules
from obsctl.local.binaries import Binaries
from tests.world import config

pytestmark = pytest.mark.real

RULES = shipped() / "alert-rules"
TESTS = sorted((RULES / "tests").glob("*.yml"))
ON = {"enabled": True}
CONFIG = config(
    services={"checkout": {"job": "shop-checkout"}}, profile="ha", components={"victorialogs": ON, "otel-gateway": ON}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rule files, the generated one too, with their tests below."""
    folder = tmp_path_factory.mktemp("alert-rules")
    shutil.copytree(RULES, folder, dirs_exist_ok=True)
    generated = yaml.safe_dump({"groups": [rules.availability_group(CONFIG)]})
    (folder / "availability.yml").write_text(generated, encoding="utf-8")
    return folder


@pytest.mark.parametrize("test", TESTS, ids=lambda file: file.stem)
def test_rules(test: Path, folder: Path) -> None:
    promtool = Binaries().provide("promtool").path
    ended = subprocess.run(
        [promtool, "test", "rules", folder / "tests" / test.name], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def expectations(fires: bool) -> set[str]:
    """The alerts of which some test says that they fire, or that they do not."""
    cases = [case for file in TESTS for test in yaml.safe_load(file.read_text())["tests"] for case in alert_tests(test)]
    return {case["alertname"] for case in cases if bool(case["exp_alerts"]) is fires}


def alert_tests(test: dict[str, Any]) -> list[dict[str, Any]]:
    return list(test.get("alert_rule_test", []))


def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not(folder: Path) -> None:
    groups = [group for file in folder.glob("*.yml") for group in yaml.safe_load(file.read_text())["groups"]]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert expectations(fires=True) == alerts
    assert expectations(fires=False) == alerts - {"Watchdog"}, "only the Watchdog always fires"
