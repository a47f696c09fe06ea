"""obsctl doctor --production: what a deploy does not mind, each with its good and its bad case."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from obsctl import names
from obsctl.doctor import production
from obsctl.doctor.checks import PRODUCTION, examine
from obsctl.doctor.site import Site
from obsctl.errors import Forbidden, TimedOut
from obsctl.model import Finding, Json, Severity
from tests.fakes import FakePrograms
from tests.fakes.nomad import NODE
from tests.without_acls import without_acls
from tests.world import NOWHERE, SECRET, World, config

ERROR, WARNING = Severity.ERROR, Severity.WARNING
DAY = 86400.0
SOUND: Json = {
    "profile": "ha",
    "demo": {"enabled": False},
    "timing": "standard",
    "nomad": {"address": "https://nomad.example.org:4646"},
    "consul": {"address": "https://consul.example.org:8501"},
    "alerting": {
        "receivers": [{"name": "team", "webhook": {"url": "env:A"}}],
        "heartbeat": {"outside_url": "env:B"},
    },
}


@dataclass
class Login:
    """GrafanaApi, of one that takes this password of admin."""

    password: str = "changed"

    def plugins(self) -> dict[str, str]:
        return {}

    def accepts(self, user: str, password: str) -> bool:
        return (user, password) == ("admin", self.password)


@dataclass
class Cluster:
    """Three nodes, and servers that answer nobody without a token."""

    root: Path
    world: World = field(default_factory=World)
    grafana: Login = field(default_factory=Login)
    open_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.world.nomad.node_stubs = [{**NODE, "ID": f"id-{n}", "Name": f"node-{n}"} for n in range(3)]
        (self.root / "obsctl.lock.yaml").write_text("images: {}\n")

    def troubles(self, **keys: Any) -> list[tuple[Severity, str]]:
        found = [each for each in self.findings(**keys) if each.severity in (Severity.ERROR, Severity.WARNING)]
        assert all(each.hint for each in found)
        return [(each.severity, f"{each.where}: {each.what}") for each in found]

    def findings(self, **keys: Any) -> list[Finding]:
        nomad, consul, world = World().nomad, World().consul, self.world
        for name, server, call in (("nomad", nomad, "jobs"), ("consul", consul, "entries")):
            if name not in self.open_to:
                server.failures[call] = Forbidden("403", hint="")
        programs = FakePrograms(world.nomad, world.consul, prometheus=world.programs.prometheus, grafana=self.grafana)
        site = Site(
            config(**{**SOUND, **keys}), self.root, world.nomad, world.consul, programs, lambda *_: SECRET,
            lambda _: nomad, replace(without_acls(world), consul=lambda _: consul), NOWHERE,
        )  # fmt: skip
        return examine(site, PRODUCTION)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_sound_cluster(cluster: Cluster) -> None:
    assert cluster.troubles() == []


@pytest.mark.parametrize(
    ("keys", "severity", "words"),
    [
        ({"profile": "single"}, WARNING, "prometheus: runs once"),
        ({"profile": "ha-one-node"}, WARNING, "profile: is ha-one-node"),
        ({"alerting": {"heartbeat": {"outside_url": "env:B"}}}, ERROR, "alerting.receivers: has no receiver"),
        ({"alerting": {"receivers": SOUND["alerting"]["receivers"]}}, WARNING, "alerting.heartbeat: is empty"),
        ({"nomad": {"address": "http://10.0.0.1:4646"}}, ERROR, "nomad.address: http://10.0.0.1:4646 is not encrypted"),
        ({"consul": {"address": "http://10.0.0.1:8500"}}, ERROR, "consul.address: http://10.0.0.1:8500 is not"),
        ({"nomad": {"address": "https://n:4646", "tls": {"verify": False}}}, ERROR, "nomad.tls.verify: is false"),
        ({"components": {"prometheus": {"storage": {"kind": "ephemeral"}}}}, WARNING, "prometheus: keeps its"),
        ({"driver": "raw_exec"}, WARNING, "raw_exec: sets no limit of memory for alert-sink, alertmanager, prometheus"),
        ({"components": {"grafana": {"enabled": True, "anonymous": True}}}, WARNING, "components.grafana.anonymous"),
        ({"demo": {"enabled": True}}, WARNING, "demo.enabled: is true"),
        ({"timing": "fast", "profile": "single"}, WARNING, "timing: is fast"),
    ],
)  # fmt: skip
def test_what_nobody_should_rely_on(cluster: Cluster, keys: Json, severity: Severity, words: str) -> None:
    assert [found[0] for found in cluster.troubles(**keys) if found[1].startswith(words)] == [severity]


def test_a_server_on_this_machine_needs_no_tls(cluster: Cluster) -> None:
    assert cluster.troubles(nomad={"address": "http://127.0.0.1:4646"}, consul={"address": "http://[::1]:8500"}) == []


@pytest.mark.parametrize("server", ["nomad", "consul"])
def test_a_server_that_answers_everybody(cluster: Cluster, server: str) -> None:
    cluster.open_to = (server,)
    [(severity, what)] = cluster.troubles()
    assert severity is ERROR
    assert what.startswith(f"{server}: answers without a token")


def test_jobs_of_others_in_the_namespace_of_the_stack(cluster: Cluster) -> None:
    for job, owner in (("obs-grafana", "obs"), ("shop", None), ("obs-two-grafana", "obs-two"), ("shop-obs-x", "shop")):
        meta = {names.STACK_MARK: owner} if owner else None
        cluster.world.nomad.register_job({"ID": job, "Name": job, "Type": "service", "Meta": meta})
    [(_, others), (_, longer)] = cluster.troubles()
    assert others.startswith(
        "nomad.namespace: default has jobs that are not the stack's (obs-two-grafana, shop, shop-obs-x): "
    )
    assert longer == "stack: rights for obs-* reach the secrets and host volumes of obs-two too"


def test_the_password_that_every_grafana_has(cluster: Cluster) -> None:
    grafana = {"components": {"grafana": {"enabled": True}}}
    assert cluster.troubles(**grafana) == []
    cluster.grafana.password = "admin"
    assert (ERROR, "grafana: takes the password that every new Grafana has (admin, admin)") in cluster.troubles(
        **grafana
    )


def test_images_that_are_not_locked(cluster: Cluster) -> None:
    (cluster.root / "obsctl.lock.yaml").unlink()
    assert [what.split(":")[0] for _, what in cluster.troubles()] == ["obsctl.lock.yaml"]


def keeping(
    cluster: Cluster, *prometheus: tuple[int, float, float], free: tuple[float, ...], volume: str = ""
) -> list[str]:
    """What is said. prometheus: number of the node, bytes stored, days. free: bytes of each node's disk that has the
    data: that of the volume, or of the allocations."""
    results, nodes = cluster.world.prometheus.results, cluster.world.nomad.node_stubs
    allocations = [{"ID": f"alloc-{n}", "NodeID": nodes[n]["ID"], "ClientStatus": "running"} for n, _, _ in prometheus]
    for number, (allocation, (_, *figures)) in enumerate(zip(allocations, prometheus, strict=True)):
        allocation["ID"] += str(number)
        for query, value in zip((production.STORED, production.STORED_FOR), figures, strict=True):
            seconds = DAY if query == production.STORED_FOR else 1
            sample = {"metric": {"allocation": allocation["ID"]}, "value": [0, str(value * seconds)]}
            results[query] = [*results.get(query, []), sample]
    cluster.world.nomad.job_allocations = lambda job_id: allocations  # type: ignore[method-assign]
    mounts = ("/", "/srv") if volume else ("/",)
    for node, value in zip(nodes, free, strict=True):
        node["Attributes"] = {"unique.storage.bytesfree": str(10**15)}  # when its client started
        node["HostVolumes"] = {"obs-prometheus": {"Name": "obs-prometheus", "Path": volume}} if volume else {}
        cluster.world.nomad.disks[node["ID"]] = {**dict.fromkeys(mounts, 10**12), mounts[-1]: int(value)}
    return [what for _, what in cluster.troubles() if what.startswith("components.prometheus.retention")]


@pytest.mark.parametrize(
    ("stored", "days", "free", "told"),
    [(1e9, 1, 100e9, False), (10e9, 1, 100e9, True), (10e9, 0.1, 1e9, False)],
    ids=["fits", "does not fit", "too early to say"],
)
def test_retention_against_the_disk(cluster: Cluster, stored: float, days: float, free: float, told: bool) -> None:
    """15 days are kept by default."""
    found = keeping(cluster, (0, stored, days), free=(free,) * 3)
    assert bool(found) is told
    if told:
        assert "10.0 GB on node-0 after 1.0 days, so 15 days take 150.0 GB; the disk has 110.0 GB for it" in found[0]


def test_each_prometheus_is_held_against_its_own_disk(cluster: Cluster) -> None:
    two = ((0, 4e9, 1.0), (1, 4e9, 1.0))
    assert keeping(cluster, *two, free=(100e9, 100e9, 1e9)) == []
    [found] = keeping(cluster, *two, free=(100e9, 50e9, 1000e9))
    assert "on node-1" in found


def test_two_of_one_node_share_its_disk(cluster: Cluster) -> None:
    [found] = keeping(cluster, (0, 4e9, 1.0), (0, 4e9, 1.0), free=(100e9, 1e9, 1e9))
    assert "so 15 days take 120.0 GB; the disk has 108.0 GB for it" in found


def test_the_disk_is_that_of_the_volume(cluster: Cluster) -> None:
    [found] = keeping(cluster, (0, 10e9, 1.0), free=(100e9,) * 3, volume="/srv/prometheus")
    assert "the disk has 110.0 GB for it" in found


def test_a_node_that_does_not_say_what_is_free(cluster: Cluster) -> None:
    cluster.world.nomad.failures["disk_stats"] = TimedOut("late", hint="")
    assert keeping(cluster, (0, 10e9, 1.0), free=(100e9,) * 3) == []
    unseen = "how much disk is free for it on node-0 cannot be seen: late"
    assert Finding(Severity.UNSEEN, "prometheus", unseen) in cluster.findings()
