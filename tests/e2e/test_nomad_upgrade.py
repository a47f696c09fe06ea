"""An upgrade of Nomad between two plans: from the one that obsctl builds to the newer one that the tests run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from obsctl.config.environment import variable_of
from obsctl.local.binaries import Binaries
from obsctl.local.machines import CLIENT
from obsctl.model import Json
from tests.deployed import Stack, write_config
from tests.local_cluster import configured, running_cluster
from tests.needs import version

pytestmark = [pytest.mark.real, pytest.mark.needs(nomad="1.7"), pytest.mark.timeout(300)]
SETTING = variable_of(("servers", "nomad"))


def test_an_upgrade_of_nomad_alone_is_no_reason_to_update_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Binaries().search("nomad").program
    built = (
        Binaries(environ={name: value for name, value in os.environ.items() if name != SETTING}).search("nomad").program
    )
    assert newer is not None
    assert built is not None, (
        "without a Nomad of its own obsctl cannot begin with an older one: obsctl dev binaries nomad"
    )
    assert built.version != newer.version
    monkeypatch.setenv(SETTING, str(built.path))
    with running_cluster() as cluster:
        # Written down, or its jobs would change: with the newer Nomad `dev up` has tasks work with an identity.
        overlay = json.loads(cluster.access.overlay.read_text())
        write_config(tmp_path, cluster, demo=(), nomad=overlay["nomad"], consul=overlay["consul"])
        stack = Stack(cluster, tmp_path)
        stack.run("deploy", "--yes")
        assert stack.clients.nomad.agent_version() == built.version
        before = allocations(stack)
        cluster.down()
        monkeypatch.setenv(SETTING, str(newer.path))
        with configured(templates_have_the_agents_token):
            cluster.up()
        assert stack.clients.nomad.agent_version() == newer.version
        stack.run("plan", "--exit-code")
        stack.run("deploy", "--yes")
        assert allocations(stack) == before


def templates_have_the_agents_token(agent: str, _: str, config: Json) -> None:
    """From Nomad 1.10 on those of a task without an identity have none, unless this is said (from 2.0.4 on)."""
    if agent == CLIENT and (version("nomad") or ()) >= (2, 0, 4):
        config["client"]["template"] = {"use_client_consul_token": True}


def allocations(stack: Stack) -> dict[str, str]:
    """Allocation -> the job that it runs for, of all that are to run."""
    nomad = stack.clients.nomad
    return {
        allocation["ID"]: job["ID"]
        for job in nomad.jobs()
        for allocation in nomad.job_allocations(job["ID"])
        if allocation["DesiredStatus"] == "run"
    }
