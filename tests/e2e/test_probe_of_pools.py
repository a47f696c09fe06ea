"""doctor --probe on machines in several node pools, of which one is not the stack's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obsctl.local.machines import CLIENT
from obsctl.model import Json
from tests.deployed import Stack, write_config
from tests.local_cluster import ON_MACHINES, configured, running_nodes

pytestmark = [
    pytest.mark.real, pytest.mark.campaign, pytest.mark.timeout(300), pytest.mark.xdist_group("nodes"), ON_MACHINES,
]  # fmt: skip
POOLS = {"client-1": "obs", "client-2": "apart", "client-3": "default"}


def in_pools(agent: str, machine: str, config: Json) -> None:
    if agent == CLIENT:
        config["client"]["node_pool"] = POOLS[machine]


def test_it_looks_where_jobs_of_the_stack_may_run(tmp_path: Path) -> None:
    with configured(in_pools), running_nodes() as cluster:
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
