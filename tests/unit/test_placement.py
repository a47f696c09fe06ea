"""Node pool, constraints and affinities in obsctl.yaml: what they become in jobs, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from obsctl.stack.observe import nodes_for
from obsctl.stack.render import render
from tests.fakes import FakeNomad
from tests.world import config

LARGE = {"attribute": "${node.class}", "value": "large"}


def job(component: str, **keys: Any) -> str:
    rendered = render(config(**keys), Path("/nonexistent"))
    return next(job.hcl for job in rendered.jobs if job.component == component)


def test_a_component_has_the_stacks_placement_and_its_own_beside_it() -> None:
    rack = {"attribute": "${meta.rack}", "operator": "is_set"}
    keys = {
        "nomad": {"placement": {"node_pool": "infra", "constraints": [LARGE]}},
        "components": {"prometheus": {"placement": {"constraints": [rack], "affinities": [{**LARGE, "weight": -20}]}}},
    }
    prometheus, warden = job("prometheus", **keys), job("warden", **keys)
    assert (prometheus.count("constraint {"), prometheus.count("affinity {")) == (2, 1)
    assert (warden.count("constraint {"), warden.count("affinity {")) == (1, 0)
    assert 'attribute = "${meta.rack}"\n    operator  = "is_set"\n  }' in prometheus
    assert all('node_pool   = "infra"' in text for text in (prometheus, warden))


def test_a_components_node_pool_replaces_the_stacks() -> None:
    keys = {"nomad": {"placement": {"node_pool": "a"}}, "components": {"warden": {"placement": {"node_pool": "b"}}}}
    assert 'node_pool   = "b"' in job("warden", **keys)
    assert 'node_pool   = "a"' in job("prometheus", **keys)


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ({"attribute": "node.class", "value": "x"}, "must be what Nomad knows of a node"),
        ({"attribute": "${env.HOME}", "value": "x"}, "must be what Nomad knows of a node"),
        ({"attribute": "${node.class}"}, "is needed by this operator"),
        ({**LARGE, "operator": "is_set"}, "is not for this operator"),
        ({**LARGE, "operator": "distinct_hosts"}, "Input should be"),
    ],
)
def test_what_cannot_be_meant_is_refused(constraint: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(nomad={"placement": {"constraints": [constraint]}})


def test_an_affinity_of_weight_0_counts_nothing_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="must not be 0"):
        config(nomad={"placement": {"affinities": [{**LARGE, "weight": 0}]}})


def test_details_of_nodes_are_asked_for_only_when_a_job_has_constraints() -> None:
    nomad = FakeNomad()
    asked = []
    nomad.node = lambda node_id: asked.append(node_id) or {"ID": node_id, "Meta": {}}  # type: ignore[method-assign,func-returns-value]
    nodes_for([{"ID": "a"}], nomad)
    assert asked == []
    found = nodes_for([{"ID": "a", "Constraints": [{"LTarget": "${meta.a}", "Operand": "is_set"}]}], nomad)
    assert asked == [node["ID"] for node in nomad.nodes()]
    assert all("Meta" in node for node in found)


def test_with_profile_ha_two_wardens_are_on_two_nodes() -> None:
    """One of them is never on the node of a service that is drilled."""
    warden = job("warden", profile="ha")
    assert "count = 2" in warden
    assert '"distinct_hosts"' in warden
    assert "count" not in job("warden").replace("CONSUL_ACCOUNT", "")
