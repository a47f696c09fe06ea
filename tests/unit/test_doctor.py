"""obsctl doctor on a cluster of fakes: each check's good and bad case."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from obsctl.clients.acl import ConsulAcl, NomadAcl
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.programs import endpoint
from obsctl.clients.protocols import NomadApi
from obsctl.clients.telemetry_apis import GrafanaClient
from obsctl.config.catalog import VictoriaLogs
from obsctl.config.secrets import Secret
from obsctl.doctor import nodes, probe, volumes
from obsctl.doctor.checks import CHECKS, chosen, examine
from obsctl.doctor.proof import unsettled
from obsctl.doctor.site import Site
from obsctl.errors import ApiError, Conflict, Forbidden, NotFound, ObsctlError, Rejected, TimedOut, Unreachable
from obsctl.model import Finding, Json, Severity
from obsctl.stack import storage
from tests.fakes import FakePrograms
from tests.fakes.nomad import NODE, NODE_ID
from tests.stub_server import Answer, stub_server
from tests.without_acls import without_acls
from tests.world import NOWHERE, SECRET, World, config

ERROR, WARNING, INFO, UNSEEN = Severity.ERROR, Severity.WARNING, Severity.INFO, Severity.UNSEEN
HERE = "127.0.0.1:4646"
MEGABYTE = 1024 * 1024
BIG = {"Cpu": {"CpuShares": 9000}, "Memory": {"MemoryMB": 32000}}
RAW = config(driver="raw_exec")
DOCKER = config()
NAMES = [check.name for check in CHECKS]


METRICS = b"""# TYPE grafana_plugin_build_info gauge
grafana_build_info{branch="HEAD",edition="oss",version="13.1.3"} 1
grafana_plugin_build_info{plugin_id="one-app",plugin_type="app",signature_status="valid",version="2.0.0"} 1
grafana_plugin_build_info{plugin_id="victoriametrics-logs-datasource",plugin_type="datasource",version="0.30.1"} 1
"""
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclass
class RunningGrafana:
    """GrafanaApi, of one that has loaded these plugins: id -> version."""

    loaded: dict[str, str]
    initial_password: bool = False

    def plugins(self) -> dict[str, str]:
        if not self.loaded:
            raise Unreachable("Grafana cannot be reached", hint="")
        return self.loaded

    def accepts(self, user: str, password: str) -> bool:
        return self.initial_password and (user, password) == ("admin", "admin")


class Patient:
    """A cluster that lacks nothing, and jobs of which Nomad understands driver, ports, volumes and resources."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.folder = folder
        self.nodes = self.world.nomad.node_stubs
        self.nodes[0].update(HTTPAddr="10.0.0.1:4646", NodeResources=deepcopy(BIG), Meta={"obsctl_volumes": "/data"})
        self.host_volumes("obs-prometheus", "obs-alertmanager", "obs-alert-sink")
        self.agents: dict[str, NomadApi] = {}
        self.path: str | None = None
        self.plugins: dict[str, str] = {}
        self.wanted = DOCKER
        self.logins = without_acls(self.world)
        parse = self.world.nomad.parse_job
        self.world.nomad.parse_job = lambda hcl: self._job(parse(hcl))  # type: ignore[method-assign]

    def _job(self, job: Json) -> Json:
        """What the fake does not read in HCL."""
        name = job["ID"].removeprefix("obs-")
        spec = getattr(self.wanted.components, name.replace("-", "_"))
        driver = str(spec.driver or self.wanted.driver)
        storage = getattr(spec, "storage", None)
        [group] = job["TaskGroups"]
        group["Networks"] = [{"ReservedPorts": [{"Label": "http", "Value": spec.port}]}]
        if storage and storage.kind != "ephemeral" and driver != "raw_exec":
            group["Volumes"] = {"data": {"Type": "host", "Source": storage.source or job["ID"]}}
        if getattr(spec, "plugins_volume", None):
            group["Volumes"] = {**group.get("Volumes", {}), "plugins": {"Type": "host", "Source": spec.plugins_volume}}
        for task in group["Tasks"]:
            task |= {"Driver": driver, "Config": {"command": spec.command}}
            task["Resources"] = {"CPU": spec.resources.cpu, "MemoryMB": spec.resources.memory}
        return job

    def host_volumes(self, *names: str, path: str = "/srv") -> None:
        self.nodes[0]["HostVolumes"] = {name: {"Name": name, "Path": f"{path}/{name}"} for name in names}

    def site(self, wanted: Any = None) -> Site:
        self.wanted = wanted or self.wanted
        return Site(
            config=self.wanted,
            root=NOWHERE,
            nomad=self.world.nomad,
            consul=self.world.consul,
            programs=FakePrograms(self.world.nomad, self.world.consul, grafana=RunningGrafana(self.plugins)),
            resolve=lambda reference, key: Secret(SECRET),
            agent=lambda address: self.agents.get(address, self.world.nomad),
            logins=self.logins,
            state=self.folder / "state",
            path=self.path,
            clock=self.world.clock,
        )

    def examine(self, wanted: Any = None) -> list[Finding]:
        return examine(self.site(wanted))

    def troubles(self, wanted: Any = None) -> list[tuple[Severity, str]]:
        """Errors and warnings, without those that follow from another."""
        found = [finding for finding in self.examine(wanted) if finding.severity in (ERROR, WARNING)]
        assert all(finding.hint for finding in found if not finding.what.startswith("not checked"))
        return [
            (item.severity, f"{item.where}: {item.what}") for item in found if not item.what.startswith("not checked")
        ]

    def trouble(self, wanted: Any = None) -> tuple[Severity, str]:
        [only] = self.troubles(wanted)
        return only


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


def node(name: str, **keys: Any) -> Json:
    more = {"ID": f"id-of-{name}", "Name": name, "HTTPAddr": "10.0.0.2:4646", "NodeResources": deepcopy(BIG)}
    return {**deepcopy(NODE), **more, **keys}


def test_where_nothing_is_wrong_every_check_says_so(patient: Patient) -> None:
    assert patient.troubles(DOCKER) == []
    assert {finding.where for finding in patient.examine(DOCKER)} >= {*NAMES} - {"writable"}


def test_it_changes_nothing(patient: Patient) -> None:
    secrets = config(consul={"token": "env:A"}, components={"prometheus": {"storage": {"kind": "dynamic"}}})
    before = patient.world.consul.entries("")
    patient.examine(secrets)
    nomad, consul = patient.world.nomad, patient.world.consul
    assert (nomad.jobs(), nomad.volumes(), nomad.variable("nomad/jobs/obs-prometheus")) == ([], [], None)
    assert consul.entries("") == before
    assert not any(consul.session_exists(session) for (session,) in consul.called("destroy_session"))
    assert consul.called("destroy_session")


def test_what_builds_on_a_failed_check_is_not_checked(patient: Patient) -> None:
    patient.world.nomad.failures["leader"] = Unreachable("Nomad cannot be reached", hint="is it running?")
    found = {finding.where: finding for finding in patient.examine()}
    assert (found["nomad"].severity, found["nomad"].hint) == (ERROR, "is it running?")
    assert found["jobs"].what == "not checked, because of nomad"
    assert found["volumes"].what == "not checked, because of drivers"
    assert found["consul token"].severity is INFO


class TestServers:
    @pytest.mark.parametrize("name", ["nomad", "consul"])
    def test_no_leader(self, patient: Patient, name: str) -> None:
        getattr(patient.world, name).leader = lambda: ""
        assert patient.trouble() == (ERROR, f"{name}: has no leader, so nothing can be changed")

    @pytest.mark.parametrize(
        ("name", "version", "old"),
        [
            ("nomad", "1.5.17", True), ("nomad", "1.6.0-beta.1+ent", False), ("nomad", "2.0.6", False),
            ("consul", "1.13.9", True), ("consul", "1.14.11", False),
        ],
    )  # fmt: skip
    def test_version(self, patient: Patient, name: str, version: str, old: bool) -> None:
        getattr(patient.world, name).agent_version = lambda: version
        found = patient.troubles()
        assert [severity for severity, what in found] == ([ERROR] if old else [])

    @pytest.mark.parametrize("kind", ["host", "dynamic"])
    def test_a_version_that_may_not_be_read(self, patient: Patient, kind: str) -> None:
        """It leaves open whether Nomad knows what obsctl.yaml asks for, where that is more than every Nomad knows."""
        wanted = config(components={"prometheus": {"storage": {"kind": kind}}})
        patient.world.nomad.failures["agent_version"] = Forbidden("no", hint="ask")
        assert patient.trouble(wanted) == (WARNING, "nomad: its version cannot be read")
        settled_by = "a token that may read the version of Nomad" if kind == "dynamic" else ""
        assert [each.settled_by for each in patient.examine(wanted) if each.where == "nomad"][-1] == settled_by

    def test_what_nomad_cannot_do_is_named_and_not_tried(self, patient: Patient) -> None:
        wanted = config(components={"prometheus": {"storage": {"kind": "dynamic"}}})
        patient.world.nomad.agent_version = lambda: "1.6.1"  # type: ignore[method-assign]
        patient.world.nomad.failures["create_volume"] = NotFound("404", hint="")
        assert patient.trouble(wanted) == (
            ERROR,
            "components.prometheus.storage.kind: dynamic host volumes need Nomad 1.10 or newer, and this is 1.6.1",
        )
        assert patient.world.nomad.called("create_volume") == []

    def test_a_version_that_obsctl_yaml_has_wrong(self, patient: Patient) -> None:
        patient.world.nomad.agent_version = lambda: "1.9.7"  # type: ignore[method-assign]
        assert patient.trouble(config(nomad={"version": "1.10"})) == (
            WARNING,
            "nomad.version: is 1.10 in obsctl.yaml, and the server has 1.9.7",
        )
        assert patient.troubles(config(nomad={"version": "1.9"})) == []

    @pytest.mark.parametrize(
        ("version", "identity", "told"),
        [
            ("1.6.1", False, [WARNING]),
            ("1.9.7", False, [WARNING]),
            ("1.10.0", False, [ERROR]),
            ("1.10.0", True, [UNSEEN]),
        ],
    )
    def test_tasks_that_would_read_consul_without_a_token_or_with_one_that_cannot_be_seen(
        self, patient: Patient, version: str, identity: bool, told: list[Severity]
    ) -> None:
        patient.world.nomad.agent_version = lambda: version  # type: ignore[method-assign]
        closed = World().consul
        closed.failures["entries"] = Forbidden("403", hint="")
        patient.logins = replace(patient.logins, consul=lambda token: patient.world.consul if token else closed)
        found = patient.examine(config(consul={"token": "env:C", "workload_identity": identity}))
        assert [each.severity for each in found if each.where == "tasks"] == told

    @pytest.mark.parametrize("identity", [True, False])
    def test_where_the_version_cannot_be_read_nothing_is_proved_that_depends_on_it(
        self, patient: Patient, identity: bool
    ) -> None:
        patient.world.nomad.failures["agent_version"] = Forbidden("no", hint="ask")
        closed = World()
        closed.consul.failures["entries"] = closed.nomad.failures["plan_job"] = Forbidden("403", hint="")
        patient.logins = replace(
            patient.logins,
            nomad=lambda token: patient.world.nomad if token else closed.nomad,
            consul=lambda token: patient.world.consul if token else closed.consul,
        )
        tokens = {"prometheus": "env:P", "warden": "env:W"}
        found = patient.examine(config(consul={"workload_identity": identity, "tokens": {} if identity else tokens}))
        unproved = [each.what.split(" is not proved: ") for each in found if each.where == "tasks"]
        expected = ["whether the warden may start jobs", "whether templates may read Consul"][: 1 if identity else 2]
        assert [what for what, *why in unproved if why] == expected
        assert {each.where for each in unsettled(found, probe=False)} >= {"tasks"}

    @pytest.mark.parametrize(("seconds", "told"), [(2, False), (-2, False), (60, True), (-60, True)])
    def test_clocks(self, patient: Patient, seconds: float, told: bool) -> None:
        now = patient.world.clock.now()
        patient.world.consul.server_time = lambda: now + seconds  # type: ignore[method-assign]
        words = [what for _, what in patient.troubles()]
        assert [what.startswith("consul: its clock differs from this machine's by") for what in words] == [True] * told

    def test_the_clock_of_a_node(self, patient: Patient) -> None:
        wrong = World().nomad
        wrong.server_time = lambda: patient.world.clock.now() + 60  # type: ignore[method-assign]
        patient.agents["http://10.0.0.1:4646"] = wrong
        [(severity, what)] = patient.troubles()
        assert (severity, what.split(" by ")[0]) == (WARNING, "node-1: its clock differs from this machine's")

    @pytest.mark.parametrize(("megabytes", "told"), [(1792, False), (1791, True)])
    def test_the_disk_of_a_node(self, patient: Patient, megabytes: int, told: bool) -> None:
        """A gateway has two queues of 512 MB, an agent three of 256 MB."""
        patient.world.nomad.disks = {NODE_ID: {"/": megabytes * MEGABYTE, "/srv": 10**12}}
        assert bool(self.full(patient, ephemeral=("otel-gateway", "otel-agent"))) is told

    @pytest.mark.parametrize(("at_start", "now"), [(10**12, 0), (0, 10**12)], ids=["filled up", "emptied"])
    def test_the_disk_of_a_node_is_measured_now(self, patient: Patient, at_start: int, now: int) -> None:
        """The attribute is of the start of its client."""
        patient.nodes[0]["Attributes"] = {"unique.storage.bytesfree": str(at_start)}
        patient.world.nomad.disks = {NODE_ID: {"/": now}}
        assert bool(self.full(patient, ephemeral=("otel-gateway",))) is (now == 0)

    @pytest.mark.parametrize(
        ("volume", "full"),
        [("/data/queues", "/dev/data"), ("/database", "/dev/"), ("/data/fast/queues", "/dev/data/fast")],
    )
    def test_a_host_volume_lies_on_the_file_system_that_is_mounted_nearest(
        self, patient: Patient, volume: str, full: str
    ) -> None:
        patient.host_volumes("obs-otel-gateway", path=volume)
        for disk in ("/", "/data", "/data/fast"):
            patient.world.nomad.disks = {
                NODE_ID: {"/": 10**12, "/data": 10**12, "/data/fast": 10**12, disk: 5 * MEGABYTE}
            }
            found = self.full(patient, ephemeral=())
            assert [f"5 MB of disk free on {full}," in what for what in found] == [True] * (f"/dev{disk}" == full)

    def test_what_lies_on_one_file_system_is_added_up(self, patient: Patient) -> None:
        """Also that of a volume and of allocations: two queues of 512 MB, and three of 256 MB."""
        patient.host_volumes("obs-otel-gateway", path="/srv")
        patient.world.nomad.disks = {NODE_ID: {"/": 1500 * MEGABYTE}}
        [found] = self.full(patient, ephemeral=("otel-agent",))
        assert "want 1792 MB" in found

    def test_with_raw_exec_data_lies_in_the_folder_that_the_node_names(self, patient: Patient) -> None:
        patient.world.nomad.disks = {NODE_ID: {"/": 0, "/data": 10**12}}
        assert self.full(patient, ephemeral=(), driver="raw_exec") == []
        patient.nodes[0]["Meta"] = {}
        assert self.full(patient, ephemeral=(), driver="raw_exec")

    @pytest.mark.parametrize("error", [TimedOut("late", hint=""), NotFound("No path to node", hint="")])
    def test_the_disk_of_a_node_that_does_not_answer(self, patient: Patient, error: ApiError) -> None:
        patient.world.nomad.failures["disk_stats"] = error
        gateway = {"otel-gateway": {"enabled": True, "storage": {"kind": "ephemeral"}}}
        found = patient.examine(config(components=gateway))
        what = f"how much of its disk is free cannot be seen: {error.message}"
        assert Finding(UNSEEN, "node-1", what) in found
        assert "disk" not in [each.where for each in found]

    def full(self, patient: Patient, *, ephemeral: tuple[str, ...], **keys: Any) -> list[str]:
        """What is said of full disks, with these parts of telemetry or else a gateway with a volume."""
        parts = {name: {"enabled": True, "storage": {"kind": "ephemeral"}} for name in ephemeral}
        telemetry = {"otel-gateway": {"enabled": True}, **parts}
        return [what for _, what in patient.troubles(config(components=telemetry, **keys)) if "of disk free" in what]

    def test_metrics_of_the_servers(self, patient: Patient) -> None:
        off = Rejected("415", hint="")
        patient.agents["http://10.0.0.1:4646"] = World().nomad
        patient.world.nomad.failures["metrics"] = patient.world.consul.failures["metrics"] = off
        found = patient.troubles()
        assert [(severity, what.split(":")[0]) for severity, what in found] == [(WARNING, "nomad"), (WARNING, "consul")]
        assert "JobNotRunning can never fire" in found[0][1]

    def test_metrics_of_a_client(self, patient: Patient) -> None:
        client = World().nomad
        patient.agents["http://10.0.0.1:4646"] = client
        client.failures["metrics"] = Rejected("415", hint="")
        assert patient.trouble() == (WARNING, "node-1: its Nomad client publishes no metrics")
        client.failures["metrics"] = Unreachable("no route", hint="")
        assert patient.troubles() == []
        assert any("cannot be seen from here (no route)" in finding.what for finding in patient.examine())

    def test_metrics_of_allocations_are_missed_only_where_there_are_some(self, patient: Patient) -> None:
        client = World().nomad
        client.metrics = lambda: "nomad_client_allocs_running 1\n"  # type: ignore[method-assign]
        patient.agents["http://10.0.0.1:4646"] = client
        assert patient.troubles() == []
        patient.world.deploy(patient.wanted)
        assert patient.trouble()[1].startswith("node-1: its Nomad client publishes no metrics of allocations")


class TestTokens:
    @pytest.mark.parametrize(
        ("method", "words"),
        [
            ("jobs", "list jobs"),
            ("nodes", "list nodes"),
            ("plan_job", "submit jobs"),
            ("variable", "read nomad/jobs/obs-*"),
            ("put_variable", "write nomad/jobs/obs-*"),
            ("create_volume", "create volumes"),
        ],
    )
    def test_a_right_that_nomad_does_not_give(self, patient: Patient, method: str, words: str) -> None:
        patient.world.nomad.failures[method] = Forbidden("403", hint="ask for it")
        wanted = config(consul={"token": "env:A"}, components={"prometheus": {"storage": {"kind": "dynamic"}}})
        assert (ERROR, f"nomad: the token may not {words}") in patient.troubles(wanted)

    @pytest.mark.parametrize(
        ("method", "words"),
        [
            ("put", "write obsctl/obs/"),
            ("services", "list services"),
            ("health", "list the nodes of services"),
            ("create_session", "create the session of a lock"),
        ],
    )
    def test_a_right_that_consul_does_not_give(self, patient: Patient, method: str, words: str) -> None:
        patient.world.consul.failures[method] = Forbidden("403", hint="ask for it")
        assert (ERROR, f"consul: the token may not {words}") in patient.troubles()

    def test_a_write_that_loses_its_check_and_set_is_allowed(self, patient: Patient) -> None:
        patient.world.consul.failures["put"] = Conflict("lost", hint="")
        assert patient.troubles() == []


@pytest.mark.parametrize("apart", [0, -1])
def test_each_job_needs_a_node_with_its_own_driver(patient: Patient, apart: int) -> None:
    """Several jobs may share a driver and have other places."""
    patient.nodes.append(node("node-2", NodePool="apart", Drivers={}))
    site = patient.site()
    site.jobs[apart]["NodePool"] = "apart"
    assert [finding.what for finding in nodes.drivers(site)] == ["no node can run it (node-2: not found)"]


class ProbeOfNodes:
    """A patient whose nodes say nothing: the job of the probe has run, without a word of a program or host."""

    def __init__(self, patient: Patient) -> None:
        self.patient, self.nomad = patient, patient.world.nomad
        self.jobs: list[Json] = []
        self.nomad.register_job = self._register  # type: ignore[method-assign,assignment]
        self.nomad.stop_job = lambda job_id: ""  # type: ignore[method-assign]
        self.nomad.job = lambda job_id: {**self.jobs[-1], "Version": 0}  # type: ignore[method-assign]
        self.nomad.job_allocations = lambda job_id: self.allocations  # type: ignore[method-assign]
        self.nomad.task_logs = lambda *_, **__: "consul http\nend\n"  # type: ignore[method-assign]
        self.allocations: list[Json] = []

    def _register(self, job: Json, **_: object) -> str:
        self.jobs.append(job)
        state = {"ClientStatus": "complete", "DesiredStatus": "run", "JobVersion": 0, "TaskStates": {}}
        self.allocations = [
            {"ID": f"on-{each['Name']}", "NodeID": each["ID"], "NodeName": each["Name"], "TaskGroup": "look", **state}
            for each in storage.homes(self.patient.nodes, job)
        ]
        return ""

    def found(self, wanted: Any, *, place: Callable[[Json], Json] = lambda job: job) -> list[Finding]:
        parse = self.nomad.parse_job
        self.nomad.parse_job = lambda hcl: place(parse(hcl))  # type: ignore[method-assign]
        return list(probe.look(self.patient.site(wanted)))

    @property
    def names(self) -> set[str]:
        return {each["NodeName"] for each in self.allocations}


@pytest.fixture
def nodes_say_nothing(patient: Patient) -> ProbeOfNodes:
    return ProbeOfNodes(patient)


def in_pool(**pools: str) -> Callable[[Json], Json]:
    """Jobs by their names in these pools, and others in that called obs, as their HCL has it."""
    return lambda job: {**job, "NodePool": pools.get(job["ID"].removeprefix("obs-"), "obs")}


class TestProbe:
    def test_it_looks_at_the_nodes_where_jobs_of_the_stack_may_run(self, nodes_say_nothing: ProbeOfNodes) -> None:
        big = {"Constraints": [{"LTarget": "${node.class}", "Operand": "=", "RTarget": "big"}]}
        nodes_say_nothing.patient.nodes += [
            node("big", NodePool="obs", NodeClass="big"), node("small", NodePool="obs", NodeClass="small")
        ]  # fmt: skip
        nodes_say_nothing.found(RAW, place=lambda job: {**in_pool()(job), **big})
        assert (nodes_say_nothing.names, nodes_say_nothing.jobs[-1]["NodePool"]) == ({"big"}, "obs")

    def test_each_needs_the_programs_of_its_own_jobs_alone(self, nodes_say_nothing: ProbeOfNodes) -> None:
        """In two node pools: one job looks at both."""
        nodes_say_nothing.patient.nodes += [node("one", NodePool="obs"), node("two", NodePool="apart")]
        found = nodes_say_nothing.found(RAW, place=in_pool(prometheus="apart"))
        assert (nodes_say_nothing.names, nodes_say_nothing.jobs[-1]["NodePool"]) == ({"one", "two"}, "all")
        lacks = {each.where: each.what for each in found if "PATH" in each.what}
        assert lacks["two"] == "the PATH of its Nomad client lacks prometheus"
        assert "prometheus" not in lacks["one"]
        assert "alertmanager" in lacks["one"]

    def test_nodes_without_raw_exec_are_named_and_leave_the_deploy_unproved(
        self, nodes_say_nothing: ProbeOfNodes
    ) -> None:
        docker = {"docker": {"Detected": True, "Healthy": True}}
        nodes_say_nothing.patient.nodes += [
            node("node-2", Drivers=docker),
            node("away", NodePool="obs", Drivers=docker),
        ]
        found = nodes_say_nothing.found(DOCKER)
        assert nodes_say_nothing.names == {"node-1"}
        [told] = unsettled(found, probe=True)
        assert (told.severity, told.where, told.what.split(". ")[0]) == (UNSEEN, "probe", "not looked at: node-2")
        for words in ("templates may read", "Consul answers at", "hosts of obsctl.yaml"):
            assert words in told.what

    def test_where_no_node_takes_raw_exec_nothing_is_registered(self, nodes_say_nothing: ProbeOfNodes) -> None:
        nodes_say_nothing.patient.nodes[0]["Drivers"] = {"docker": {"Detected": True, "Healthy": True}}
        found = nodes_say_nothing.found(config(consul={"workload_identity": True}))
        assert ([each.where for each in found], nodes_say_nothing.jobs) == (["probe", "tasks"], [])
        assert [each.where for each in unsettled(found, probe=True)] == ["probe"]

    @pytest.mark.parametrize("host", ["10.1.2.3", "[fd00::7]", "[fe80::1%25eth0]"])
    def test_addresses_are_not_names_that_dns_has_to_know(self, patient: Patient, host: str) -> None:
        def register(job: Json, **_: object) -> str:
            seen.append(json.dumps(job))
            raise Rejected("enough", hint="")

        seen: list[str] = []
        patient.world.nomad.register_job = register  # type: ignore[method-assign,assignment]
        servers = {"nomad": {"address": f"http://{host}:4646"}, "consul": {"address": "http://consul.example.org:8500"}}
        with pytest.raises(Rejected, match="enough"):
            list(probe.look(patient.site(config(driver="raw_exec", **servers))))
        assert "getent hosts consul.example.org" in seen[0]
        assert seen[0].count("getent") == 1

    @pytest.mark.parametrize(
        ("answer", "scheme", "told"),
        [
            ("HTTP/1.1 200 OK\r\n\r\n", "http", None),
            ("HTTP/1.1 200 OK\r\n\r\n", "https", "speaks no TLS"),
            ("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.", "https", None),
            ("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.", "http", "wants TLS"),
            ("SSH-2.0", "http", "is no Consul"),
            (None, "http", "nothing answers there at "),
            (None, "https", "nothing answers there at "),
        ],
    )
    def test_each_node_asks_where_its_programs_ask_consul(
        self, patient: Patient, answer: str | None, scheme: str, told: str | None
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
            if answer is None:
                server.close()
            else:
                threading.Thread(target=say, args=(server, answer), daemon=True).start()
            script = probe.script_for([], [], address)
            said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
        patient.world.nomad.task_logs = lambda *_, **__: said  # type: ignore[method-assign]
        site = patient.site(config(consul={"address": "http://c:8500", "node_address": address}))
        sight = probe.sight_of(site, {"ID": "a", "NodeName": "node-1"}, frozenset(), frozenset())
        found = list(probe.consul_faults(sight, address))
        assert [told in each.what for each in found if told] == [True] * bool(told)
        assert len(found) == bool(told)


def say(server: socket.socket, answer: str) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(100)
        connection.sendall(answer.encode())


@pytest.mark.parametrize(("node_address", "told"), [("http://127.0.0.1:8501", True), ("http://127.0.0.1:8500", False)])
def test_a_port_that_speaks_tls_for_obsctl_does_so_for_programs(
    patient: Patient, node_address: str, told: bool
) -> None:
    consul = {"address": "https://consul.example.org:8501", "node_address": node_address}
    found = [what for _, what in patient.troubles(config(consul=consul)) if what.startswith("consul.node_address")]
    assert found == ["consul.node_address: is http:// at port 8501, where consul.address has https://"] * told


class LoginOfNomad(ConsulAcl):
    """One that lacks all of the stack's roles, and has this binding rule."""

    def __init__(self, description: str) -> None:
        super().__init__(Endpoint("Consul", "http://consul", ""))
        self._rule = {"BindType": "role", "Description": description}

    def auth_method(self, name: str) -> Json:
        return {"Name": name, "Description": "somebody's", "Config": {}}

    def binding_rules(self, method: str) -> list[Json]:
        return [self._rule]

    def policy(self, name: str) -> None:
        """None is there."""

    def role(self, name: str) -> None:
        """None is there."""


class NoAclRights(ConsulAcl):
    """As the role deploy has it."""

    def __init__(self) -> None:
        super().__init__(Endpoint("Consul", "http://consul", ""))

    def auth_method(self, name: str) -> Json:
        raise Forbidden("Consul answered 403", hint="")


class NoNomadAclRights(NomadAcl):
    def __init__(self) -> None:
        super().__init__(Endpoint("Nomad", "http://nomad", ""))

    def policy(self, name: str) -> Json | None:
        raise Forbidden("Nomad answered 403", hint="")


class TestProof:
    def open(self, patient: Patient, wanted: Any = None, *, probe: bool = False) -> dict[str, str]:
        return {each.where: each.settled_by for each in unsettled(patient.examine(wanted), probe=probe)}

    def here(self, patient: Patient) -> None:
        """The nodes are this machine, and the volumes are there."""
        patient.nodes[0].update(HTTPAddr=HERE, Address="127.0.0.1", HostVolumes={})

    def test_what_a_token_that_may_not_read_acls_cannot_see_is_open_whatever_the_nodes_try(
        self, patient: Patient
    ) -> None:
        patient.logins = replace(patient.logins, consul_acl=NoAclRights(), nomad_acl=NoNomadAclRights())
        found = self.open(patient, config(consul={"workload_identity": True}), probe=True)
        reader = "a token that may read ACLs"
        assert (found["nomad identities"], found["consul identities"]) == (reader, reader)

    def test_what_the_nodes_can_try_is_open_until_they_have(self, patient: Patient) -> None:
        wanted = config(driver="raw_exec", consul={"workload_identity": True})
        patient.logins = replace(patient.logins, consul_acl=LoginOfNomad("all jobs of Nomad"))
        found = self.open(patient, wanted)
        assert {where for where, settled_by in found.items() if settled_by == "--probe"} == {
            "tasks", "programs", "from nodes"
        }  # fmt: skip
        assert "--probe" not in self.open(patient, wanted, probe=True).values()

    def test_what_only_others_may_have_made_is_open(self, patient: Patient) -> None:
        patient.logins = replace(patient.logins, consul_acl=LoginOfNomad("all jobs of Nomad"))
        found = self.open(patient, config(consul={"workload_identity": True}), probe=True)
        assert found["consul identities"] == "what obsctl setup makes"

    def test_folders_of_other_machines_are_open(self, patient: Patient) -> None:
        assert self.open(patient, probe=True) == {"volumes": "obsctl doctor run on each of their nodes"}

    def test_on_this_machine_without_acls_nothing_is_open(self, patient: Patient) -> None:
        kept = {"storage": {"kind": "ephemeral"}}
        wanted = config(components={"prometheus": kept, "alertmanager": kept, "alert-sink": kept})
        self.here(patient)
        assert self.open(patient, wanted) == {}

    def test_blindness_is_not_open(self, patient: Patient) -> None:
        """A deploy does not mind a clock or metrics that cannot be seen."""
        self.here(patient)
        client = World().nomad
        client.failures["metrics"] = client.failures["server_time"] = Unreachable("no route", hint="")
        patient.agents[f"http://{HERE}"] = client
        unseen = {each.what.split(" (")[0] for each in patient.examine() if each.severity is UNSEEN}
        assert unseen == {"its clock cannot be seen from here", "its metrics cannot be seen from here"}
        assert self.open(patient) == {}


class TestIdentities:
    @pytest.mark.parametrize(
        ("description", "severity"),
        [
            ("obsctl, stack other: tasks", ERROR),
            ("obsctl dev: tasks of other jobs", ERROR),
            ("all jobs of Nomad", WARNING),
            ("", WARNING),
        ],
    )
    def test_only_a_rule_of_others_may_give_what_is_missing(
        self, patient: Patient, description: str, severity: Severity
    ) -> None:
        patient.logins = replace(patient.logins, consul_acl=LoginOfNomad(description))
        found = patient.troubles(config(consul={"workload_identity": True}))
        told = [level for level, what in found if what == "consul identities: Consul's role obs-tasks is missing"]
        assert told == [severity]


class TestJobs:
    def test_a_job_that_nomad_cannot_read(self, patient: Patient) -> None:
        patient.world.nomad.failures["parse_job"] = Rejected("no such block", hint="")
        severity, what = patient.trouble()
        assert severity is ERROR
        assert what.startswith("jobs: Nomad cannot read these jobs")

    def test_a_secret_that_is_not_there(self, patient: Patient) -> None:
        missing = ObsctlError("the variable A is not set", hint="export it")
        world, wanted = patient.world, config(consul={"tokens": {"prometheus": "env:A"}})

        def resolve(reference: str, key: str) -> Secret:
            raise missing

        site = Site(
            wanted,
            NOWHERE,
            world.nomad,
            world.consul,
            world.programs,
            resolve,
            lambda _: world.nomad,
            without_acls(world),
            patient.folder,
        )
        assert [finding.what for finding in examine(site) if finding.where == "jobs"] == ["the variable A is not set"]


class TestNodes:
    def test_no_node_in_the_datacenters(self, patient: Patient) -> None:
        patient.nodes[0]["SchedulingEligibility"] = "ineligible"
        assert patient.trouble() == (ERROR, "nodes: no node is ready and eligible in *, node pool default")

    def test_no_node_for_one_of_the_jobs(self, patient: Patient) -> None:
        parse, rack = patient.world.nomad.parse_job, {"LTarget": "${meta.rack}", "Operand": "=", "RTarget": "r1"}

        def parsed(hcl: str) -> Json:
            job = parse(hcl)
            return {**job, "Constraints": [rack]} if job["ID"] == "obs-warden" else job

        patient.world.nomad.parse_job = parsed  # type: ignore[method-assign]
        what = "no node is ready and eligible in *, node pool default and meets the constraints: obs-warden cannot run"
        assert patient.trouble() == (ERROR, f"nodes: {what}")

    def test_a_driver_that_no_node_has(self, patient: Patient) -> None:
        patient.nodes[0]["Drivers"]["docker"] = {"Healthy": False, "HealthDescription": "no daemon"}
        assert patient.trouble() == (ERROR, "docker: no node can run it (node-1: no daemon)")

    def test_one_node_that_has_it_is_enough(self, patient: Patient) -> None:
        patient.nodes.append(node("node-2", Drivers={}))
        assert patient.troubles() == []

    def hold(self, patient: Patient, port: int, job: str) -> None:
        patient.world.nomad.register_job({"ID": job, "TaskGroups": [{"Name": "x", "Count": 1, "Tasks": []}]})
        resources = {"Shared": {"Ports": [{"Label": "http", "Value": port}]}}
        patient.world.nomad.report_allocations(job, AllocatedResources=resources)

    def test_a_port_that_another_job_holds(self, patient: Patient) -> None:
        self.hold(patient, 9090, "squatter")
        words = "obs-prometheus: port 9090 (http) is held by the job squatter (namespace default) on node-1"
        assert patient.trouble() == (ERROR, words)

    def test_a_job_of_our_name_in_another_namespace_is_not_ours(self, patient: Patient) -> None:
        self.hold(patient, 9090, "obs-prometheus")
        patient.world.nomad.report_allocations("obs-prometheus", Namespace="team")
        words = "obs-prometheus: port 9090 (http) is held by the job obs-prometheus (namespace team) on node-1"
        assert patient.trouble() == (ERROR, words)

    def test_a_port_that_is_free_on_another_node(self, patient: Patient) -> None:
        self.hold(patient, 9090, "squatter")
        patient.nodes.append(node("node-2", HostVolumes=patient.nodes[0]["HostVolumes"]))
        assert patient.troubles() == []

    def test_our_own_jobs_may_hold_ports(self, patient: Patient) -> None:
        self.hold(patient, 9090, "obs-alertmanager")
        assert not [what for _, what in patient.troubles() if "is held by" in what]

    def test_too_little_memory_for_all_together(self, patient: Patient) -> None:
        patient.nodes[0]["NodeResources"]["Memory"]["MemoryMB"] = 1500
        words = "room: the stack needs 1536 MB of memory, and the nodes have 1500 MB for it"
        assert patient.trouble() == (ERROR, words)

    def test_what_the_scheduler_says(self, patient: Patient) -> None:
        lacks = {"NodesEvaluated": 1, "ConstraintFiltered": {"x = y": 1}}
        patient.world.nomad.unplaceable["obs-warden"] = {"warden": lacks}
        words = "obs-warden: cannot be placed: group warden: x = y (1 node)"
        assert patient.trouble() == (ERROR, words)

    def test_a_missing_volume_is_told_once(self, patient: Patient) -> None:
        lacks = {"NodesEvaluated": 1, "ConstraintFiltered": {"missing compatible host volumes": 1}}
        patient.world.nomad.unplaceable["obs-prometheus"] = {"prometheus": lacks}
        patient.host_volumes("obs-alertmanager", "obs-alert-sink")
        assert patient.trouble() == (ERROR, "obs-prometheus: the host volume obs-prometheus is missing on node-1")


class TestVolumes:
    def test_one_node_with_the_volume_is_enough(self, patient: Patient) -> None:
        patient.nodes.append(node("node-2"))
        assert patient.troubles() == []

    def test_several_on_nodes_of_their_own_want_one_each(self, patient: Patient) -> None:
        wanted = config(profile="ha", components={"alertmanager": {"count": 1}})
        patient.nodes.append(node("node-2"))
        words = "obs-prometheus: the host volume obs-prometheus is missing on node-2"
        assert patient.trouble(wanted) == (ERROR, words)
        patient.nodes[1]["HostVolumes"] = patient.nodes[0]["HostVolumes"]
        assert patient.troubles(wanted) == []

    def test_a_dynamic_one_is_made_by_the_deploy(self, patient: Patient) -> None:
        patient.host_volumes("obs-alertmanager", "obs-alert-sink")
        assert patient.troubles(config(components={"prometheus": {"storage": {"kind": "dynamic"}}})) == []

    def test_a_system_job_wants_its_volume_on_every_node(self, patient: Patient) -> None:
        parse = patient.world.nomad.parse_job

        def parsed(hcl: str) -> Json:
            job = parse(hcl)
            return {**job, "Type": "system"} if job["ID"] == "obs-prometheus" else job

        patient.world.nomad.parse_job = parsed  # type: ignore[method-assign]
        patient.nodes.append(node("node-2"))
        assert patient.trouble() == (ERROR, "obs-prometheus: the host volume obs-prometheus is missing on node-2")

    @pytest.mark.parametrize("name", ["obsctl-nomad-alloc", "obsctl-host-root"])
    def test_what_an_agent_mounts_of_its_node_is_told_with_its_path(self, patient: Patient, name: str) -> None:
        stanza = f'client {{ host_volume "{name}" {{ path = … }} }} in the configuration of the Nomad client'
        alloc_dir = "the client's alloc_dir as path and read_only = false"
        settings = {"obsctl-nomad-alloc": alloc_dir, "obsctl-host-root": "/ as path and read_only = true"}[name]
        wanted = config(components={"prometheus": {"storage": {"source": name}}})  # stands in for the agent
        [finding] = [finding for finding in patient.examine(wanted) if name in finding.what]
        assert finding.hint == f"{stanza}, with {settings}"

    def test_a_volume_that_no_job_may_write_to_is_told(self, patient: Patient) -> None:
        patient.nodes[0]["HostVolumes"]["obs-prometheus"]["ReadOnly"] = True
        assert patient.trouble() == (ERROR, "obs-prometheus: the host volume obs-prometheus is read-only on node-1")

    def test_raw_exec_wants_a_folder_of_the_node(self, patient: Patient) -> None:
        assert patient.troubles(RAW) == []
        patient.nodes[0]["Meta"] = {}
        words = "raw_exec: node-1 has no folder for data (the meta obsctl_volumes)"
        assert patient.trouble(RAW) == (ERROR, words)

    def test_folders_of_this_machine_are_looked_at(self, patient: Patient, tmp_path: Path) -> None:
        patient.nodes[0]["HTTPAddr"] = HERE
        patient.host_volumes("obs-prometheus", "obs-alertmanager", "obs-alert-sink", path=str(tmp_path))
        for name in ("obs-prometheus", "obs-alertmanager"):
            (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / "obs-alertmanager").chmod(0o777)
        found = [what for _, what in patient.troubles() if "folder" in what]
        assert [what.split(":")[0] for what in found] == ["obs-alert-sink", "obs-prometheus"]
        assert "No such file" in found[0]
        assert f"belongs to uid {os.getuid()}, and the component's uid 65534 cannot write to it" in found[1]

    def test_those_of_another_machine_are_not_vouched_for(self, patient: Patient) -> None:
        told = [finding for finding in patient.examine() if (finding.where, finding.severity) == ("volumes", UNSEEN)]
        assert len(told) == 1
        assert "obs-prometheus on node-1 (uid 65534)" in told[0].what

    @pytest.mark.parametrize(
        ("mode", "owner", "uid", "may"),
        [(0o700, 5, 5, True), (0o500, 5, 5, False), (0o770, 5, 6, False), (0o757, 5, 6, True), (0o000, 5, 0, True)],
    )
    def test_who_may_write(self, mode: int, owner: int, uid: int, may: bool) -> None:
        status = os.stat_result((0o40000 | mode, 1, 1, 1, owner, owner, 0, 0, 0, 0))
        assert volumes.may_write(status, uid) is may


class TestHere:
    @pytest.fixture
    def listener(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]

    def test_a_port_that_a_stranger_has(self, patient: Patient, listener: int) -> None:
        patient.nodes[0].update(HTTPAddr=HERE, Address="127.0.0.1")
        wanted = config(driver="raw_exec", components={"warden": {"port": listener}})
        words = f"obs-warden: a program that Nomad did not start listens on 127.0.0.1:{listener} (http)"
        assert (ERROR, words) in patient.troubles(wanted)

    def test_programs_of_this_machine(self, patient: Patient, tmp_path: Path) -> None:
        patient.nodes[0].update(HTTPAddr=HERE, Address="127.0.0.1")
        wanted = config(driver="raw_exec", components={"prometheus": {"command": "no-such-program"}})
        missing = [what for _, what in patient.troubles(wanted) if "PATH" in what]
        assert missing == [], "those of a cluster elsewhere are not on this machine"
        for name in ("no-such-program", "alertmanager", "obsctl"):
            (tmp_path / name).touch(mode=0o755)
        patient.path = str(tmp_path)
        assert not [what for _, what in patient.troubles(wanted) if "PATH" in what]
        (tmp_path / "no-such-program").unlink()
        words = "obs-prometheus: its program no-such-program is not on the PATH of the Nomad client"
        assert (ERROR, words) in patient.troubles(wanted)

    def test_those_of_another_machine_cannot_be_seen(self, patient: Patient) -> None:
        assert patient.troubles(config(driver="raw_exec", components={"warden": {"command": "no-such-program"}})) == []

    def test_a_state_folder_that_cannot_be_made(self, patient: Patient) -> None:
        (patient.folder / "state").touch()
        severity, what = patient.trouble()
        assert severity is WARNING
        assert what.startswith(f"state folder: {patient.folder / 'state'} cannot be written")


class TestLinks:
    LOST = (
        WARNING,
        "dashboards: alerts have no link to a dashboard, because obsctl does not know where people open Grafana",
    )

    def grafana(self, **keys: Any) -> Any:
        return config(components={"grafana": {"enabled": True, "storage": {"kind": "ephemeral"}, **keys}})

    @pytest.mark.parametrize(
        ("tls", "what"),
        [
            (
                {"cert_file": "/c", "key_file": "/k"},
                "nomad.tls.cert_file is obsctl's alone, so nomad gets no certificate from warden, prometheus",
            ),
            ({"verify": False}, "nomad.tls.verify: false holds for obsctl alone, and not for warden, prometheus"),
        ],
    )
    def test_programs_on_nodes_have_no_certificate_of_yours(
        self, patient: Patient, tls: dict[str, Any], what: str
    ) -> None:
        nomad = {"address": "https://nomad.example.org:4646"}
        assert (WARNING, f"certificates: {what}") in patient.troubles(config(nomad={**nomad, "tls": tls}))
        own = {"cert_file": "/c", "key_file": "/k", "programs": {"cert": "env:CERT", "key": "env:KEY"}}
        assert patient.troubles(config(nomad=nomad)) == []
        assert not [each for each in patient.troubles(config(nomad={**nomad, "tls": own})) if "certificates" in each[1]]

    def test_the_programs_certificate_is_tried(self, patient: Patient) -> None:
        seen = []

        def refuse(server: str, *own: str) -> NomadApi:
            seen.append((server, [Path(file).read_text() for file in own]))
            raise Unreachable("Nomad cannot be reached: TLS failed: unknown ca", hint="")

        patient.logins = replace(patient.logins, by_certificate=refuse)
        tls = {"cert_file": "/c", "key_file": "/k", "programs": {"cert": "env:CERT", "key": "env:KEY"}}
        found = patient.troubles(config(nomad={"address": "https://nomad.example.org:4646", "tls": tls}))
        assert [what for level, what in found if level is ERROR] == [
            "nomad.tls.programs: the certificate is of no use to the stack's programs: "
            "Nomad cannot be reached: TLS failed: unknown ca"
        ]
        assert seen == [("nomad", [SECRET, SECRET])]

    def test_where_no_file_can_be_in_memory_the_certificate_is_not_tried(
        self, patient: Patient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on macOS."""
        monkeypatch.delattr(os, "memfd_create")
        tls = {"programs": {"cert": "env:CERT", "key": "env:KEY"}}
        wanted = config(nomad={"address": "https://nomad.example.org:4646", "tls": tls})
        assert patient.troubles(wanted) == []
        [told] = [each for each in patient.examine(wanted) if each.where == "nomad.tls.programs"]
        assert (told.severity, told.what) == (
            UNSEEN, "the certificate of the stack's programs is not tried: that takes Linux"
        )  # fmt: skip

    def test_nobody_said_where_grafana_is_opened(self, patient: Patient) -> None:
        assert self.LOST in patient.troubles(self.grafana())

    def test_somebody_did(self, patient: Patient) -> None:
        assert self.LOST not in patient.troubles(self.grafana(root_url="https://grafana.example.org/"))


class TestLogPlugin:
    ID = "victoriametrics-logs-datasource"

    def wanted(self, **grafana: Any) -> Any:
        kept = {"enabled": True, "storage": {"kind": "ephemeral"}}
        shown = {**kept, "root_url": "https://grafana.example.org/", **grafana}
        return config(components={"grafana": shown, "victorialogs": kept})

    def place(self, folder: Path) -> Path:
        """The plugin as its publisher's release unpacks."""
        plugin = folder / self.ID
        plugin.mkdir(parents=True)
        (plugin / "plugin.json").write_text(json.dumps({"id": self.ID, "executable": "backend"}))
        (plugin / "MANIFEST.txt").touch()
        (plugin / f"backend_linux_{ARCHITECTURE}").touch(mode=0o755)
        return plugin

    def here(self, patient: Patient, folder: Path) -> list[str]:
        """What is said of a Grafana that raw_exec will run on this machine."""
        patient.nodes[0].update(HTTPAddr=HERE, Address="127.0.0.1")
        found = patient.troubles(self.wanted(driver="raw_exec", plugins_dir=str(folder)))
        return [what for severity, what in found if severity is WARNING and "program" not in what]

    def test_whether_it_can_be_fetched_cannot_be_seen(self, patient: Patient) -> None:
        severity, what = patient.trouble(self.wanted())
        assert severity is WARNING
        assert what.startswith(f"obs-grafana: fetches {self.ID} from grafana.com")

    def test_nothing_is_said_without_grafana_or_without_logs(self, patient: Patient) -> None:
        without = self.wanted().components.model_copy(update={"victorialogs": VictoriaLogs(enabled=False)})
        assert patient.troubles(self.wanted().model_copy(update={"components": without})) == []
        assert patient.troubles(self.wanted(enabled=False)) == []

    def test_a_folder_of_this_machine(self, patient: Patient, tmp_path: Path) -> None:
        assert self.here(patient, tmp_path / "none") == [
            f"obs-grafana: {tmp_path}/none does not hold the plugin {self.ID}"
        ]
        plugin = self.place(tmp_path)
        assert self.here(patient, tmp_path) == []
        (plugin / "MANIFEST.txt").unlink()
        (plugin / f"backend_linux_{ARCHITECTURE}").chmod(0o644)
        assert self.here(patient, tmp_path) == [
            f"obs-grafana: {plugin} is not signed (no MANIFEST.txt), so Grafana does not load it",
            f"obs-grafana: {plugin}/backend_linux_{ARCHITECTURE} is missing or cannot be run, "
            "so Grafana gets no answer from it",
        ]
        (plugin / "plugin.json").write_text("[")
        assert self.here(patient, tmp_path) == [f"obs-grafana: {tmp_path} does not hold the plugin {self.ID}"]

    @pytest.mark.parametrize("driver", ["docker", "raw_exec"])
    def test_a_folder_of_an_image_or_of_another_machine(self, patient: Patient, driver: str) -> None:
        wanted = self.wanted(driver=driver, plugins_dir="/opt/plugins")
        assert patient.troubles(wanted) == []
        said = f"obsctl cannot see from here whether it finds {self.ID} in /opt/plugins"
        assert said in [finding.what for finding in patient.examine(wanted)]

    def test_a_volume_with_plugins_is_missing(self, patient: Patient) -> None:
        severity, what = patient.trouble(self.wanted(plugins_dir="/opt/plugins", plugins_volume="plugins"))
        assert (severity, what) == (ERROR, "obs-grafana: the host volume plugins is missing on node-1")

    @pytest.mark.parametrize("given", [{}, {"plugins_dir": "/opt/plugins"}])
    def test_a_running_grafana_says_what_it_has_loaded(self, patient: Patient, given: dict[str, str]) -> None:
        patient.world.consul.register("grafana", instance=patient.world.nomad.place("obs-grafana"), port=3000)
        patient.plugins = {self.ID: "0.30.1"}
        assert patient.troubles(self.wanted(**given)) == []
        patient.plugins = {"another": "1.0.0"}
        said = (WARNING, f"obs-grafana: runs without the plugin {self.ID}, so it shows no logs")
        assert patient.trouble(self.wanted(**given)) == said

    def test_a_running_grafana_that_does_not_answer_here_stops_no_deploy(self, patient: Patient) -> None:
        patient.world.consul.register("grafana", instance=patient.world.nomad.place("obs-grafana"), port=3000)
        assert patient.troubles(self.wanted()) == []
        said = "its plugins cannot be seen from here: Grafana cannot be reached"
        assert said in [finding.what for finding in patient.examine(self.wanted())]


def test_grafana_tells_its_plugins_among_its_metrics() -> None:
    with stub_server() as server:
        server.answers = [Answer(body=METRICS, headers={"Content-Type": "text/plain"})]
        assert GrafanaClient(endpoint("grafana", server.address)).plugins() == {
            "one-app": "2.0.0",
            "victoriametrics-logs-datasource": "0.30.1",
        }
        assert [asked.path for asked in server.asked] == ["/metrics"]


@pytest.mark.timeout(10)
def test_a_grafana_that_tells_nonsense_without_end_does_not_hold_doctor_up() -> None:
    nonsense = b"grafana_plugin_build_info{" + b'a="",plugin_id="x",' * 100_000
    with stub_server() as server:
        server.answers = [Answer(body=nonsense, headers={"Content-Type": "text/plain"})]
        assert GrafanaClient(endpoint("grafana", server.address)).plugins() == {"x": ""}


def test_what_the_nodes_try_is_not_also_looked_at_from_here() -> None:
    left_out = {check.name for check in CHECKS} - {check.name for check in chosen(probe=True, production=False)}
    assert left_out == {"tasks", "programs", "from nodes"}
