"""What obsctl takes for granted of Nomad, held against the real one and against the fake of the unit tests."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from obsctl.clients.jobs import is_running, ports, task_events
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.errors import Conflict, NotFound, Rejected, ServerFailed
from obsctl.model import Json
from obsctl.stack.storage import Volume
from obsctl.telemetry.lines import Query
from obsctl.telemetry.nomad_logs import NomadTail
from obsctl.wait import wait_until
from tests.fakes import FakeConsul, FakeNomad

NOBODY = "00000000-0000-0000-0000-000000000000"
JOB = """
job "%(name)s" {
  type = "%(kind)s"
  group "main" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    update {
      health_check     = "task_states"
      min_healthy_time = "100ms"
    }
    network {
      port "http" {}
    }
    service {
      name     = "%(name)s"
      port     = "http"
      provider = "consul"
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "%(script)s"]
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"""
SLEEP = "echo to-stdout; echo to-stderr >&2; exec sleep 600"
EXIT = "echo no port left >&2; exit 1"


@dataclass
class Subject:
    """A Nomad under test, and what differs between the fake and the real one. names: the jobs of this test."""

    nomad: NomadApi
    consul: ConsulApi
    fake: FakeNomad | None = None
    names: list[str] = field(default_factory=list)

    def job(self, script: str = SLEEP, *, kind: str = "service") -> Json:
        name = f"contract-{uuid4().hex[:8]}"
        self.names.append(name)
        if self.fake and script == EXIT:
            self.fake.exits[name] = "no port left\n"
        if self.fake and script == SLEEP:
            self.fake.written[name] = {"main.stdout.0": b"to-stdout\n", "main.stderr.0": b"to-stderr\n"}
        hcl = JOB if kind == "service" else re.sub(r"(?s)    reschedule {.*?}\n", "", JOB)
        return self.nomad.parse_job(hcl % {"name": name, "script": script, "kind": kind})

    def unplaceable(self, *, kind: str = "service") -> Json:
        job = self.job(kind=kind)
        if self.fake:
            self.fake.unplaceable[job["ID"]] = {"main": {"NodesEvaluated": 1, "ConstraintFiltered": {"x": 1}}}
        return {**job, "Constraints": [{"LTarget": "${node.unique.name}", "RTarget": "nobody", "Operand": "="}]}

    def started(self) -> Json:
        """A job that runs, and whose deployment is through."""
        job = self.job()
        self.nomad.register_job(job)
        self.until_deployed(job["ID"])
        return job

    def until(self, what: str, probe: Callable[[], bool]) -> None:
        wait_until(probe, timeout=20, interval=0.05, failure=f"no sign of {what}", hint="look into the agents' logs")

    def until_deployed(self, job_id: str, status: str = "successful") -> Json:
        def deployed() -> Json | None:
            deployment = self.nomad.job_deployment(job_id)
            current = deployment and deployment["JobVersion"] == self.nomad.job(job_id)["Version"]
            return deployment if deployment and current and deployment["Status"] == status else None

        return wait_until(deployed, timeout=20, interval=0.05, failure=f"no sign of a {status} deployment", hint="")

    def until_ended(self, job_id: str) -> None:
        def ended() -> bool:
            return all(alloc["ClientStatus"] == "complete" for alloc in self.nomad.job_allocations(job_id))

        self.until("the end of the allocations", ended)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        consul = FakeConsul()
        fake = FakeNomad(consul=consul)
        yield Subject(fake, consul, fake)
        return
    cluster = request.getfixturevalue("cluster")
    subject = Subject(cluster.nomad, cluster.consul)
    yield subject
    for stub in subject.nomad.jobs():
        if stub["ID"] in subject.names and not stub["Stop"]:
            subject.nomad.stop_job(stub["ID"])


@pytest.fixture
def nomad(subject: Subject) -> NomadApi:
    return subject.nomad


def test_it_has_a_leader_a_version_and_a_clock(nomad: NomadApi) -> None:
    assert ":" in nomad.leader()
    assert nomad.agent_version().count(".") == 2
    assert nomad.server_time() > 1_600_000_000
    assert "nomad_" in nomad.metrics()


def test_a_node_measures_the_disk_of_its_allocations_and_all_that_are_mounted(nomad: NomadApi) -> None:
    [node] = nomad.nodes()
    stats = nomad.disk_stats(node["ID"])
    of_allocations = stats["AllocDirStats"]
    assert 0 < of_allocations["Available"] <= of_allocations["Size"]
    assert of_allocations["Size"] in [each["Size"] for each in stats["DiskStats"]]
    for each in stats["DiskStats"]:
        assert each["Mountpoint"].startswith("/")
        assert 0 <= each["Available"] <= each["Size"]
        assert each["Device"]


class TestWhatIsNotThere:
    def test_a_job(self, nomad: NomadApi) -> None:
        with pytest.raises(NotFound):
            nomad.job("nobody")
        with pytest.raises(NotFound):
            nomad.stop_job("nobody")
        assert nomad.job_allocations("nobody") == []
        assert nomad.job_evaluations("nobody") == []
        assert nomad.job_deployment("nobody") is None

    def test_by_id(self, nomad: NomadApi) -> None:
        for lookup in (nomad.evaluation, nomad.allocation, nomad.node, nomad.disk_stats):
            with pytest.raises(NotFound):
                lookup(NOBODY)
        assert nomad.task_logs(NOBODY, "main") == ""
        assert nomad.log_files(NOBODY) == {}
        assert nomad.read_log(NOBODY, "main.stdout.0", offset=0) == b""


def happened(nomad: NomadApi, alloc_id: str) -> list[str]:
    return [event["Type"] for event in task_events(nomad.allocation(alloc_id), "main")]


class TestActions:
    def test_a_killed_task_has_terminated_and_what_has_ended_takes_no_signal(
        self, subject: Subject, nomad: NomadApi
    ) -> None:
        job = subject.started()
        [alloc] = nomad.job_allocations(job["ID"])
        nomad.signal_allocation(alloc["ID"], "main", "SIGKILL")
        subject.until("its end", lambda: {"Signaling", "Terminated"} <= set(happened(nomad, alloc["ID"])))
        nomad.reschedule(job["ID"])  # it may never be: nothing happens
        nomad.stop_job(job["ID"])
        subject.until("its end", lambda: not any(map(is_running, nomad.job_allocations(job["ID"]))))
        with pytest.raises((Rejected, ServerFailed)):
            nomad.signal_allocation(alloc["ID"], "main", "SIGKILL")

    def test_a_signal_is_an_event_that_names_it(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        [alloc] = nomad.job_allocations(job["ID"])
        for signal in ("SIGSTOP", "SIGCONT"):
            nomad.signal_allocation(alloc["ID"], "main", signal)

        def signals() -> list[str]:
            events = task_events(nomad.allocation(alloc["ID"]), "main")
            return [event["Details"]["signal"] for event in events if event["Type"] == "Signaling"]

        subject.until("the signals", lambda: signals() == ["SIGSTOP", "SIGCONT"])

    def test_a_restarted_task_starts_where_it_was(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        [alloc] = nomad.job_allocations(job["ID"])
        nomad.restart_allocation(alloc["ID"], "main")
        subject.until("its start", lambda: happened(nomad, alloc["ID"]).count("Started") == 2)
        assert "Restart Signaled" in happened(nomad, alloc["ID"])

    def test_a_stopped_allocation_is_replaced(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        [before] = nomad.job_allocations(job["ID"])
        nomad.stop_allocation(before["ID"])

        def replaced() -> bool:
            running = [each["ID"] for each in nomad.job_allocations(job["ID"]) if is_running(each)]
            return len(running) == 1 and running != [before["ID"]]

        subject.until("another", replaced)
        subject.until("its end", lambda: "Killed" in happened(nomad, before["ID"]))

    def test_what_is_not_there(self, nomad: NomadApi) -> None:
        with pytest.raises(NotFound):
            nomad.signal_allocation(NOBODY, "main", "SIGCONT")
        with pytest.raises(NotFound):
            nomad.restart_allocation(NOBODY, "main")
        with pytest.raises(NotFound):
            nomad.stop_allocation(NOBODY)
        with pytest.raises(NotFound):
            nomad.reschedule("nobody")


class TestParse:
    def test_a_job(self, subject: Subject) -> None:
        job = subject.job()
        assert job["ID"] == job["Name"] == subject.names[0]
        assert job["Type"] == "service"
        assert job["TaskGroups"][0]["Count"] == 1
        assert job["TaskGroups"][0]["Tasks"][0]["Name"] == "main"

    def test_what_is_no_job(self, nomad: NomadApi) -> None:
        with pytest.raises(Rejected, match="Failed to parse job"):
            nomad.parse_job('job "x" {')


class TestRegister:
    def test_a_new_job_runs(self, subject: Subject, nomad: NomadApi) -> None:
        job = {**subject.job(), "Meta": {"obsctl.stack": "obs"}}
        eval_id = nomad.register_job(job, enforce_index=0)
        deployment = subject.until_deployed(job["ID"])
        assert deployment["JobVersion"] == 0
        current = nomad.job(job["ID"])
        assert (current["Version"], current["Stop"], current["Status"]) == (0, False, "running")
        assert current["JobModifyIndex"] == deployment["JobModifyIndex"]
        [alloc] = nomad.job_allocations(job["ID"])
        assert (alloc["ClientStatus"], alloc["JobVersion"], alloc["EvalID"]) == ("running", 0, eval_id)
        assert nomad.allocation(alloc["ID"])["TaskStates"]["main"]["State"] == "running"
        assert nomad.evaluation(eval_id)["JobID"] == job["ID"]
        assert eval_id in [evaluation["ID"] for evaluation in nomad.job_evaluations(job["ID"])]
        [stub] = [stub for stub in nomad.jobs() if stub["ID"] == job["ID"]]
        assert stub["Meta"] == {"obsctl.stack": "obs"}
        assert (stub["Stop"], stub["JobModifyIndex"]) == (False, current["JobModifyIndex"])

    def test_a_node_tells_of_its_allocations_as_soon_as_they_change(self, subject: Subject, nomad: NomadApi) -> None:
        before, _ = nomad.watch_node(nomad.nodes()[0]["ID"], index=0, wait=0)
        job = subject.started()
        [alloc] = nomad.job_allocations(job["ID"])
        after, found = nomad.watch_node(alloc["NodeID"], index=before, wait=20)
        [seen] = [each for each in found if each["ID"] == alloc["ID"]]
        assert after > before
        assert (seen["Namespace"], seen["JobID"], seen["TaskGroup"]) == ("default", job["ID"], alloc["TaskGroup"])
        assert seen["Job"]["ID"] == job["ID"]
        assert nomad.watch_node(NOBODY, index=0, wait=0)[1] == []

    def test_only_over_the_index_that_was_seen(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.job()
        with pytest.raises(Conflict):
            nomad.register_job(job, enforce_index=5)
        nomad.register_job(job, enforce_index=0)
        with pytest.raises(Conflict):
            nomad.register_job(job, enforce_index=0)
        seen = nomad.job(job["ID"])["JobModifyIndex"]
        nomad.register_job({**job, "Priority": 60}, enforce_index=seen)
        with pytest.raises(Conflict):
            nomad.register_job({**job, "Priority": 70}, enforce_index=seen)
        assert nomad.job(job["ID"])["Priority"] == 60

    def test_the_same_job_again_is_no_new_version(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        before = nomad.job(job["ID"])
        nomad.register_job(job)
        after = nomad.job(job["ID"])
        assert (after["Version"], after["JobModifyIndex"]) == (0, before["JobModifyIndex"])

    def test_a_changed_job_is_a_new_version_with_its_own_deployment(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        before = nomad.job(job["ID"])
        nomad.register_job({**job, "Meta": {"a": "b"}})
        assert subject.until_deployed(job["ID"])["JobVersion"] == 1
        after = nomad.job(job["ID"])
        assert after["Version"] == 1
        assert after["JobModifyIndex"] > before["JobModifyIndex"]
        assert [alloc["JobVersion"] for alloc in nomad.job_allocations(job["ID"])] == [1, 0]

    def test_the_allocations_of_all_jobs_with_what_they_were_given(self, subject: Subject) -> None:
        job = subject.started()
        [own] = [alloc for alloc in subject.nomad.allocations() if alloc["JobID"] == job["ID"]]
        assert own["ClientStatus"] == "running"
        assert ports(own) == ports(subject.nomad.allocation(own["ID"]))

    def test_a_job_whose_task_exits_fails_its_deployment_and_leaves_its_log(self, subject: Subject) -> None:
        job = subject.job(EXIT)
        subject.nomad.register_job(job)
        subject.until_deployed(job["ID"], "failed")
        [alloc] = subject.nomad.job_allocations(job["ID"])
        assert alloc["ClientStatus"] == "failed"
        state = alloc["TaskStates"]["main"]
        assert (state["State"], state["Failed"]) == ("dead", True)
        assert "Terminated" in [event["Type"] for event in state["Events"]]
        assert subject.nomad.task_logs(alloc["ID"], "main") == "no port left\n"
        assert subject.nomad.task_logs(alloc["ID"], "main", tail_bytes=5) == "left\n"
        assert subject.nomad.task_logs(alloc["ID"], "main", stream="stdout") == ""

    def test_the_log_files_of_an_allocation_and_parts_of_them(self, subject: Subject) -> None:
        job = subject.started()
        nomad = subject.nomad
        [alloc] = nomad.job_allocations(job["ID"])
        written = {"main.stdout.0": 10, "main.stderr.0": 10}
        subject.until("what the task writes", lambda: nomad.log_files(alloc["ID"]) == written)
        assert nomad.read_log(alloc["ID"], "main.stdout.0", offset=0) == b"to-stdout\n"
        assert nomad.read_log(alloc["ID"], "main.stderr.0", offset=3) == b"stderr\n"
        assert nomad.read_log(alloc["ID"], "main.stdout.0", offset=10) == b""
        assert nomad.read_log(alloc["ID"], "main.stdout.7", offset=0) == b""

    @pytest.mark.parametrize("subject", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
    def test_no_line_is_lost_while_a_fast_task_rotates_its_files(self, subject: Subject) -> None:
        line = "$i of many lines that fill one file after the other with words"
        loop = f"i=0; while test $i -lt 30000; do echo {line}; i=$((i+1)); done"
        job = subject.job(f"{loop}; exec sleep 600")
        task = job["TaskGroups"][0]["Tasks"][0]
        task["LogConfig"] = {**task["LogConfig"], "MaxFiles": 10, "MaxFileSizeMB": 1}
        subject.nomad.register_job(job)
        tail = NomadTail(subject.nomad, Query(job["ID"]))
        seen: list[int] = []

        def last_one_seen() -> bool:
            seen.extend(int(line.text.split()[0]) for line in tail.lines())
            return bool(seen) and seen[-1] == 29_999

        subject.until("the last line", last_one_seen)
        assert seen == list(range(seen[0], 30_000))
        assert len(subject.nomad.log_files(subject.nomad.job_allocations(job["ID"])[0]["ID"])) > 2

    def test_a_deployment_names_the_index_that_its_job_has_in_the_list_of_jobs(
        self, subject: Subject, nomad: NomadApi
    ) -> None:
        """So a plan can tell whether it is that of the job as it is now, without asking for the job."""
        job = subject.started()
        nomad.register_job({**job, "Priority": 60})
        deployment = subject.until_deployed(job["ID"])
        [stub] = [stub for stub in nomad.jobs() if stub["ID"] == job["ID"]]
        assert deployment["JobSpecModifyIndex"] == stub["JobModifyIndex"]

    def test_a_job_that_no_node_can_take_says_why(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.unplaceable()
        assert nomad.plan_job(job)["FailedTGAllocs"]["main"]["ConstraintFiltered"]
        eval_id = nomad.register_job(job)
        subject.until("the evaluation", lambda: nomad.evaluation(eval_id)["Status"] == "complete")
        assert nomad.evaluation(eval_id)["FailedTGAllocs"]["main"]["ConstraintFiltered"]
        assert nomad.job_allocations(job["ID"]) == []
        deployment = nomad.job_deployment(job["ID"])
        assert deployment
        assert deployment["Status"] == "running"


@pytest.mark.needs(nomad="1.11")
class TestSystemJobs:
    def test_each_version_has_a_deployment(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.job(kind="system")
        for version in (0, 1):
            eval_id = nomad.register_job({**job, "Priority": 60 + version})
            assert subject.until_deployed(job["ID"])["JobVersion"] == version
            assert not nomad.evaluation(eval_id).get("FailedTGAllocs")
            [alloc] = [alloc for alloc in nomad.job_allocations(job["ID"]) if alloc["DesiredStatus"] == "run"]
            assert (alloc["ClientStatus"], alloc["JobVersion"]) == ("running", version)

    def test_the_deployment_is_successful_where_no_node_takes_it(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.unplaceable(kind="system")
        eval_id = nomad.register_job(job)
        subject.until_deployed(job["ID"])
        subject.until("the evaluation", lambda: nomad.evaluation(eval_id)["Status"] == "complete")  # written after it
        assert nomad.evaluation(eval_id)["FailedTGAllocs"]["main"]["ConstraintFiltered"]
        assert nomad.job_allocations(job["ID"]) == []


class TestPlan:
    def test_a_new_job(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.job()
        plan = nomad.plan_job(job)
        assert (plan["JobModifyIndex"], plan["Diff"]["Type"]) == (0, "Added")
        assert not plan["FailedTGAllocs"]

    def test_the_same_job(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        plan = nomad.plan_job(job)
        assert plan["Diff"]["Type"] == "None"
        assert plan["JobModifyIndex"] == nomad.job(job["ID"])["JobModifyIndex"]

    def test_a_changed_job(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        assert nomad.plan_job({**job, "Priority": 70})["Diff"]["Type"] == "Edited"
        assert nomad.job(job["ID"])["Version"] == 0

    def test_a_stopped_job_shows_that_it_is_stopped(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        nomad.stop_job(job["ID"])
        diff = nomad.plan_job(job)["Diff"]
        assert diff["Type"] == "Edited"
        assert [(change["Name"], change["Old"].lower(), change["New"].lower()) for change in diff["Fields"]] == [
            ("Stop", "true", "false")
        ]


class TestStop:
    def test_a_stop_is_a_new_version_and_ends_the_tasks(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        before = nomad.job(job["ID"])
        eval_id = nomad.stop_job(job["ID"])
        subject.until_ended(job["ID"])
        after = nomad.job(job["ID"])
        assert (after["Version"], after["Stop"], after["Status"]) == (1, True, "dead")
        assert after["JobModifyIndex"] > before["JobModifyIndex"]
        assert nomad.evaluation(eval_id)["JobID"] == job["ID"]
        [alloc] = nomad.job_allocations(job["ID"])
        assert (alloc["DesiredStatus"], alloc["JobVersion"]) == ("stop", 0)
        assert alloc["TaskStates"]["main"]["State"] == "dead"
        assert alloc["TaskStates"]["main"]["FinishedAt"]

    def test_a_stopped_job_keeps_the_deployment_of_its_last_running_version(self, subject: Subject) -> None:
        job = subject.started()
        subject.nomad.stop_job(job["ID"])
        deployment = subject.nomad.job_deployment(job["ID"])
        assert deployment
        assert (deployment["JobVersion"], deployment["Status"]) == (0, "successful")

    def test_a_second_stop_is_one_more_version(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        nomad.stop_job(job["ID"])
        nomad.stop_job(job["ID"])
        assert nomad.job(job["ID"])["Version"] == 2

    def test_versions_are_listed_newest_first(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        nomad.stop_job(job["ID"])
        nomad.register_job(job)
        versions = nomad.job_versions(job["ID"])
        assert [(version["Version"], version["Stop"]) for version in versions] == [(2, False), (1, True), (0, False)]
        with pytest.raises(NotFound):
            nomad.job_versions("nobody")

    @pytest.mark.parametrize("recorded", [False, True], ids=["as registered", "as recorded while it ran"])
    def test_registering_a_stopped_job_starts_it(self, subject: Subject, nomad: NomadApi, recorded: bool) -> None:
        job = subject.started()
        again = nomad.job(job["ID"]) if recorded else job
        nomad.stop_job(job["ID"])
        subject.until_ended(job["ID"])
        with pytest.raises(Conflict):
            nomad.register_job(again, enforce_index=0)
        nomad.register_job(again, enforce_index=nomad.job(job["ID"])["JobModifyIndex"])
        assert subject.until_deployed(job["ID"])["JobVersion"] == 2
        current = nomad.job(job["ID"])
        assert (current["Version"], current["Stop"]) == (2, False)
        assert [alloc["ClientStatus"] for alloc in nomad.job_allocations(job["ID"])] == ["running", "complete"]

    def test_its_services_come_and_go_with_it(self, subject: Subject, nomad: NomadApi) -> None:
        job = subject.started()
        subject.until("registration", lambda: len(subject.consul.health(job["ID"])) == 1)
        nomad.stop_job(job["ID"])
        subject.until("deregistration", lambda: subject.consul.health(job["ID"]) == [])


@pytest.mark.needs(nomad="1.10")
class TestVolumes:
    def test_one_is_made_on_its_node_and_becomes_ready(self, subject: Subject, nomad: NomadApi) -> None:
        name = f"contract-{uuid4().hex[:8]}"
        [node] = nomad.nodes()
        created = nomad.create_volume(Volume(name, "any", os.getuid()).request(node["ID"]))

        def ready() -> bool:
            [volume] = [volume for volume in nomad.volumes() if volume["ID"] == created]
            assert (volume["Name"], volume["NodeID"]) == (name, node["ID"])
            return bool(volume["State"] == "ready")

        subject.until("the volume", ready)
        subject.until("the node to offer it", lambda: name in nomad.nodes()[0]["HostVolumes"])

    def test_a_node_that_is_not_there(self, nomad: NomadApi) -> None:
        with pytest.raises(ServerFailed, match="does not exist"):
            nomad.create_volume(Volume("x", "any", 0).request(NOBODY))


class TestVariables:
    @pytest.fixture
    def path(self) -> str:
        return f"contract/{uuid4()}"

    def test_what_is_not_there(self, nomad: NomadApi, path: str) -> None:
        assert nomad.variable(path) is None

    def test_put(self, nomad: NomadApi, path: str) -> None:
        nomad.put_variable(path, {"password": "hunter2"})
        variable = nomad.variable(path)
        assert variable
        assert (variable.path, variable.items) == (path, {"password": "hunter2"})
        assert "hunter2" not in repr(variable)

    def test_check_and_set(self, nomad: NomadApi, path: str) -> None:
        with pytest.raises(Conflict):
            nomad.put_variable(path, {"a": "early"}, cas=7)
        nomad.put_variable(path, {"a": "hunter2"}, cas=0)
        with pytest.raises(Conflict) as caught:
            nomad.put_variable(path, {"a": "again"}, cas=0)
        assert "hunter2" not in caught.value.message
        variable = nomad.variable(path)
        assert variable
        nomad.put_variable(path, {"a": "next"}, cas=variable.modify_index)
        with pytest.raises(Conflict):
            nomad.put_variable(path, {"a": "late"}, cas=variable.modify_index)
        found = nomad.variable(path)
        assert found
        assert found.items == {"a": "next"}


def test_nodes(nomad: NomadApi) -> None:
    [stub] = nomad.nodes()
    assert (stub["Status"], stub["SchedulingEligibility"]) == ("ready", "eligible")
    assert nomad.node(stub["ID"])["Name"] == stub["Name"]
