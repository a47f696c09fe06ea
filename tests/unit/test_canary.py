"""Secrets by every kind of reference, followed through all commands: they are where they belong, and nowhere else.

They belong into Nomad Variables. Looked at are what is printed, rendered files, jobs, keys in Consul, plans, journals,
crash logs and all else in the state and cache folders, and arguments and environments of programs that obsctl starts.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest

from obsctl.cli import wire
from tests.command import Obsctl
from tests.drill_world import JOB, DrillWorld
from tests.world import World

ENV, FILE, VARIABLE, TOKEN = "canary-env-7f3a9c", "canary-file-1b8e2d", "canary-var-5d0c4e", "canary-token-9e6f1a"
CANARIES = (ENV, FILE, VARIABLE, TOKEN)
REAL_TOOLS = wire.check_tools
TOOL = """#!/bin/sh
{ echo "$0 $*"; env; cat /proc/self/environ; } >>"$(dirname "$0")/../started"
case $1 in --version) echo "$(basename "$0"), version 3.15.0 (branch: HEAD, revision: 0)";; esac
"""


@pytest.fixture
def canaries(folder: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A stack that refers to secrets in every way, in a folder where promtool and amtool write down what they get."""
    (folder / "secret").write_text(FILE)
    (folder / "secret").chmod(0o600)
    world.nomad.put_variable("team/secrets", {"url": f"https://hooks.example.org/{VARIABLE}"})
    monkeypatch.setenv("ON_CALL_TOKEN", ENV)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", TOKEN)
    monkeypatch.setenv("NOMAD_TOKEN", TOKEN)
    receivers = [
        {"name": "hook", "webhook": {"url": "nomad-var:team/secrets#url"}},
        {"name": "pager", "pagerduty": {"routing_key": "env:ON_CALL_TOKEN"}},
        {"name": "chat", "slack": {"api_url": f"file:{folder / 'secret'}", "channel": "#alerts"}},
    ]
    document = json.loads((folder / "obsctl.yaml").read_text())
    document |= {
        "nomad": {"token": "env:NOMAD_TOKEN"},
        "consul": {"token": "env:CONSUL_HTTP_TOKEN"},
        "alerting": {"receivers": receivers},
    }
    (folder / "obsctl.yaml").write_text(json.dumps(document))
    (folder / "bin").mkdir()
    for name in ("promtool", "amtool"):
        (folder / "bin" / name).write_text(TOOL)
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(wire, "check_tools", REAL_TOOLS)
    return world


def leaks(text: object) -> list[str]:
    return [canary for canary in CANARIES if canary in str(text)]


def written(folder: Path) -> str:
    """All that is in files below this folder, but for the one that holds a secret."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "secret"]
    return "\n".join(file.read_bytes().decode(errors="replace") for file in files)


def test_secrets_are_in_variables_alone(canaries: World, obsctl: Obsctl, folder: Path) -> None:
    said = ""
    commands = ("config show", "validate", "render", "render --out rendered", "plan", "deploy --yes", "plan", "status",
                "secrets list", "dashboards lint", "drill stop web --yes", "drill recover")  # fmt: skip
    for command in commands:
        for options in ((), ("--json",), ("--verbose",)):
            ran = obsctl(*command.split(), *options)
            said += ran.out + ran.err
            assert ran.code != 3, ran.err
    kept = [canaries.nomad.variable(f"nomad/jobs/obs-{name}") for name in ("alertmanager", "prometheus", "warden")]
    held = " ".join(value for variable in kept if variable for value in variable.items.values())
    assert sorted(leaks(held)) == sorted({*CANARIES} - {TOKEN})  # the operator's tokens are for obsctl alone
    assert leaks(said) == []
    jobs = [canaries.nomad.called(name) for name in ("register_job", "plan_job", "parse_job")]
    assert leaks(jobs) == []
    assert leaks([*canaries.consul.entries(""), canaries.consul.calls]) == []
    assert "promtool" in (folder / "started").read_text()
    assert leaks(written(folder)) == []


def test_a_crash_log_has_none(canaries: World, obsctl: Obsctl, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"header X-Consul-Token: {TOKEN}, key {ENV}")

    monkeypatch.setattr(wire, "clients", fail)
    ran = obsctl("--json", "status")
    assert ran.code == 3
    assert leaks(ran.out + ran.err + written(folder)) == []
    assert "RuntimeError" in written(folder / "state")


def test_a_drill_leaves_none_in_its_journal_and_in_consul(tmp_path: Path) -> None:
    world = DrillWorld(tmp_path)
    job = deepcopy(JOB)
    job["TaskGroups"][0]["Tasks"][0]["Env"] = {"DATABASE_PASSWORD": ENV}
    world.nomad.register_job(job)
    assert world.run().outcome == "PROVEN"
    assert any(ENV in str(version) for version in world.nomad.job_versions(JOB["ID"]))
    assert leaks([record.line() for record in world.on_disk()]) == []
    assert leaks([world.consul.called("put"), world.consul.entries("")]) == []
    assert leaks(written(tmp_path)) == []
