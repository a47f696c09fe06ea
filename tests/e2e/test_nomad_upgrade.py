"""An upgrade of Nomad between two plans: from the one that obsctl builds to the newer one that the tests run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from obsctl.config.environment import variable_of
from obsctl.local.binaries import Binaries
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster

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
        # Without this its jobs would change: the newer Nomad gives tasks an identity.
        consul = {"address": cluster.addresses.consul, "workload_identity": False}
        write_config(tmp_path, cluster, demo=(), consul=consul)
        stack = Stack(cluster, tmp_path)
        stack.run("deploy", "--yes")
        assert stack.clients.nomad.agent_version() == built.version
        before = allocations(stack)
        cluster.down()
        monkeypatch.setenv(SETTING, str(newer.path))
        cluster.up()
        assert stack.clients.nomad.agent_version() == newer.version
        stack.run("plan", "--exit-code")
        stack.run("deploy", "--yes")
        assert allocations(stack) == before


def allocations(stack: Stack) -> dict[str, str]:
    """Allocation -> the job that it runs for, of all that are to run."""
    nomad = stack.clients.nomad
    return {
        allocation["ID"]: job["ID"]
        for job in nomad.jobs()
        for allocation in nomad.job_allocations(job["ID"])
        if allocation["DesiredStatus"] == "run"
    }
