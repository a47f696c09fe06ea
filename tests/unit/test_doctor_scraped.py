"""obsctl doctor names services that cannot be seen, or not as their meta says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from obsctl.config.secrets import Secret
from obsctl.doctor import scraped
from obsctl.doctor.site import Site
from obsctl.model import Finding
from tests.fakes import FakePrograms
from tests.without_acls import without_acls
from tests.world import NOWHERE, World, config

TAGS = ("obsctl.scrape",)


class Cluster:
    """A cluster of fakes, and what one check of doctor says of it."""

    def __init__(self) -> None:
        self.world = World()

    def told(self, check: Callable[[Site], Iterable[Finding]], **keys: Any) -> list[str]:
        site = Site(
            config=config(**keys),
            root=NOWHERE,
            nomad=self.world.nomad,
            consul=self.world.consul,
            programs=FakePrograms(self.world.nomad, self.world.consul),
            resolve=lambda reference, key: Secret(""),
            agent=lambda address: self.world.nomad,
            logins=without_acls(self.world),
            state=Path("/nonexistent"),
        )
        return [f"{finding.where}: {finding.what}" for finding in check(site)]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"metrics_pth": "/m"}, "metrics_pth means nothing"),
        ({"metrics_params_format": "x"}, "metrics_params_format means nothing"),
        ({"metrics_scheme": "HTTPS"}, "metrics_scheme is neither http nor https"),
        ({"metrics_port": "http"}, "metrics_port is no port"),
        ({"metrics_path": "/m?match=a%20b"}, "in its meta metrics_path are more than 4"),
        ({"metrics_path": "/a%20b"}, "its meta metrics_path has a %"),
        ({"metrics_path": "/m?a=1&b="}, "in its meta metrics_path are more than 4"),
        ({"metrics_path": "/m?a"}, "in its meta metrics_path are more than 4"),
        ({"metrics_path": "/m?a=1&b=2&c=3&d=4&e=5"}, "in its meta metrics_path are more than 4"),
    ],
)
def test_meta_that_prometheus_leaves_out_is_named(cluster: Cluster, meta: dict[str, str], words: str) -> None:
    cluster.world.consul.register("vault", instance="one", tags=TAGS, meta=meta)
    cluster.world.consul.register("vault", instance="two", tags=TAGS, meta=meta)
    [told] = cluster.told(scraped.meta)
    assert told.startswith("service vault: ")
    assert words in told


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"metrics_path": "/v1/metrics?format=prometheus", "metrics_port": "9102", "metrics_scheme": "https"},
        {"metrics_path": "/v1/metrics", "metrics_param_format": "prometheus", "nomad_namespace": "x", "version": "1"},
    ],
)
def test_meta_that_works_is_not_named(cluster: Cluster, meta: dict[str, str]) -> None:
    cluster.world.consul.register("vault", tags=TAGS, meta=meta)
    assert cluster.told(scraped.meta) == []


@pytest.mark.parametrize(("name", "shown"), [("..", ".."), ("", ""), ("a/../b\nc", r"'a/../b\nc'")])
def test_a_service_that_nobody_can_ask_for_is_named_and_the_others_are_looked_at(
    cluster: Cluster, name: str, shown: str
) -> None:
    cluster.world.consul.register(name, tags=TAGS)
    cluster.world.consul.register("vault", tags=TAGS, meta={"metrics_pth": "/m"})
    [unnamed, vault] = cluster.told(scraped.meta)
    assert unnamed.startswith(f"service {shown}: ")
    assert "cannot be a name" in unnamed
    assert vault.startswith("service vault: ")


def test_what_is_not_scraped_is_not_looked_at(cluster: Cluster) -> None:
    wrong = {"metrics_pth": "x"}
    cluster.world.consul.register("a", meta=wrong)
    cluster.world.consul.register("b-sidecar-proxy", tags=TAGS, meta=wrong, kind="connect-proxy")
    cluster.world.consul.register("c", tags=TAGS, meta={**wrong, "obsctl_stack": "other"})
    assert cluster.told(scraped.meta) == []


def test_a_watched_service_that_is_not_there_or_lacks_the_tag_is_named(cluster: Cluster) -> None:
    cluster.world.consul.register("shop")
    cluster.world.consul.register("billing", tags=TAGS)
    told = cluster.told(scraped.services, services={"shop": {}, "billing": {}, "not-yet": {}})
    assert sorted(told) == [
        "services.not-yet: is not in Consul, so ServiceDown fires for it",
        "services.shop: is not scraped, so ServiceDown fires for it",
    ]


@pytest.mark.parametrize("kind", ["Periodic", "ParameterizedJob"])
def test_a_watched_job_that_ends_by_itself_is_named(cluster: Cluster, kind: str) -> None:
    cluster.world.nomad.register_job({"ID": "nightly", "Name": "nightly", "Type": "batch", "TaskGroups": [], kind: {}})
    cluster.world.nomad.register_job({"ID": "web", "Name": "web", "TaskGroups": []})
    [told] = cluster.told(scraped.services, services={"web": {}})
    assert "periodic" not in told
    wanted = {"job": {kind: {"Enabled": True}}}
    cluster.world.nomad.register_job({"ID": "nightly", "Name": "nightly", "TaskGroups": [], kind: wanted})
    [told] = cluster.told(scraped.services, services={"reports": {"job": "nightly"}})
    assert told == "services.reports: its job nightly is periodic or dispatched: ServiceDown fires between its runs"


def test_rules_that_stop_a_deploy_are_named(cluster: Cluster) -> None:
    assert cluster.told(scraped.rules) == []
    [told] = cluster.told(scraped.rules, alerting={"rule_files": ["gone.yml"]})
    assert told.startswith("alerting.rule_files: no file matches")
