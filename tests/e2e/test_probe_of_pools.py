"""doctor --probe on machines in several node pools, of which one is not the stack's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obsctl.local import control
from obsctl.local.machines import CLIENT
from tests.deployed import Stack, write_config
from tests.local_cluster import ON_MACHINES, running_nodes

pytestmark = [
    pytest.mark.real, pytest.mark.campaign, pytest.mark.timeout(300), pytest.mark.xdist_group("nodes"), ON_MACHINES,
]  # fmt: skip
POOLS = {"client-1": "obs", "client-2": "apart", "client-3": "default"}


def in_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    write = control.config_text

    def with_pool(agent: str, *arguments: Any) -> str:
        text, machine = write(agent, *arguments), arguments[-1]
        if agent != CLIENT:
            return text
        settings = json.loads(text)
        settings["client"]["node_pool"] = POOLS[machine.name]
        return json.dumps(settings)

    monkeypatch.setattr(control, "config_text", with_pool)


def test_it_looks_where_jobs_of_the_stack_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pools(monkeypatch)
    with running_nodes() as cluster:
        write_config(tmp_path, cluster, demo=())
        config = json.loads((tmp_path / "obsctl.yaml").read_text())
        config["nomad"]["placement"] = {"node_pool": "obs"}
        config["components"]["prometheus"] |= {"command": "no-such-program", "placement": {"node_pool": "apart"}}
        (tmp_path / "obsctl.yaml").write_text(json.dumps(config))
        document = Stack(cluster, tmp_path).json("doctor", "--probe", code=1)
        job = cluster.nomad.job("obs-doctor-probe")
        ran = {each["NodeName"] for each in cluster.nomad.job_allocations("obs-doctor-probe")}
    found = {(each["where"], each["what"]) for each in document["findings"]}
    assert (job["NodePool"], ran) == ("all", {"client-1", "client-2"})
    assert ("client-2", "the PATH of its Nomad client lacks no-such-program") in found
    assert not [what for where, what in found if where == "client-1" and "PATH" in what]
