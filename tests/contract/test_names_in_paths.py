"""Names in the paths of calls: each reaches the server as it is, or no call is made at all.

Held against real servers and against the fakes of the unit tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.errors import NotFound, Rejected
from obsctl.model import Json
from tests.fakes import FakeConsul, FakeNomad

PLAIN = ["100%", "a%2Fb", "a?b=c", "a#b", "ümläut", "猫😀", "a/b", "a;b+c&d", "a:b@c=d,e", "a\\b'\"", "...", "~"]
NEVER = ["", ".", "..", "../x", "a/../b", "a/..", "a//b", "/a", "a/", "a/./b", "\ud800"]
JOB = 'job "names" {\n  group "main" {\n    task "main" {\n      driver = "raw_exec"\n    }\n  }\n}\n'


@dataclass
class Subject:
    nomad: NomadApi
    consul: ConsulApi


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        consul = FakeConsul()
        return Subject(FakeNomad(consul=consul), consul)
    cluster = request.getfixturevalue("cluster")
    return Subject(cluster.nomad, cluster.consul)


@pytest.fixture
def folder(subject: Subject) -> Iterator[str]:
    """A part of Consul's keys, and of Nomad's jobs, that no other test uses."""
    folder = f"names/{uuid4()}"
    yield folder
    for pair in subject.consul.entries(f"{folder}/"):
        subject.consul.delete(pair.key)
    for stub in subject.nomad.jobs():
        if stub["ID"].startswith(folder) and not stub["Stop"]:
            subject.nomad.stop_job(stub["ID"])


def idle_job(nomad: NomadApi, job_id: str) -> Json:
    """A job of which nothing runs."""
    job = nomad.parse_job(JOB)
    job["TaskGroups"][0]["Count"] = 0
    return {**job, "ID": job_id, "Name": job_id}


@pytest.mark.parametrize("name", [*PLAIN, "a b"])
def test_a_key_is_written_read_listed_and_deleted_under_its_own_name(subject: Subject, folder: str, name: str) -> None:
    key = f"{folder}/{name}"
    subject.consul.put(key, b"1")
    pair = subject.consul.get(key)
    assert pair
    assert pair.key == key
    assert [entry.key for entry in subject.consul.entries(f"{folder}/")] == [key]
    assert [entry.key for entry in subject.consul.watch(f"{folder}/", index=0, wait=1)[1]] == [key]
    subject.consul.delete(key, cas=pair.modify_index)
    assert subject.consul.entries(f"{folder}/") == []


@pytest.mark.parametrize("name", PLAIN)
def test_a_job_is_planned_registered_read_and_stopped_under_its_own_name(
    subject: Subject, folder: str, name: str
) -> None:
    nomad = subject.nomad
    job = idle_job(nomad, f"{folder}/{name}")
    assert nomad.plan_job(job)["JobModifyIndex"] == 0
    nomad.register_job(job)
    assert nomad.job(job["ID"])["ID"] == job["ID"]
    assert [version["ID"] for version in nomad.job_versions(job["ID"])] == [job["ID"]]
    assert {entry["JobID"] for entry in nomad.job_evaluations(job["ID"])} == {job["ID"]}
    assert nomad.job_allocations(job["ID"]) == []
    nomad.stop_job(job["ID"])
    assert nomad.job(job["ID"])["Stop"]


def calls(subject: Subject, name: str) -> list[Callable[[], object]]:
    """Every call that has the name in a path, or in the path of a file."""
    nomad, consul = subject.nomad, subject.consul
    return [
        lambda: consul.get(name), lambda: consul.put(name, b""),
        lambda: consul.acquire(name, b"", "s"), lambda: consul.renew_session(name),
        lambda: consul.destroy_session(name), lambda: consul.session_exists(name), lambda: consul.health(name),
        lambda: nomad.job(name), lambda: nomad.job_versions(name), lambda: nomad.stop_job(name),
        lambda: nomad.job_evaluations(name), lambda: nomad.job_allocations(name), lambda: nomad.job_deployment(name),
        lambda: nomad.evaluation(name), lambda: nomad.allocation(name), lambda: nomad.node(name),
        lambda: nomad.disk_stats(name),
        lambda: nomad.task_logs(name, "main"), lambda: nomad.task_logs("a", name), lambda: nomad.log_files(name),
        lambda: nomad.read_log(name, "main.stdout.0", offset=0), lambda: nomad.read_log("a", name, offset=0),
        lambda: nomad.watch_node(name, index=0, wait=1), lambda: nomad.variable(name),
        lambda: nomad.put_variable(name, {}),
    ]  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_a_name_that_would_lead_elsewhere_is_never_sent(subject: Subject, name: str) -> None:
    for call in calls(subject, name):
        with pytest.raises(Rejected, match="cannot be a name in the path of a call"):
            call()


def test_a_job_whose_name_ends_like_a_call_is_no_other_answer(subject: Subject, folder: str) -> None:
    subject.nomad.register_job(idle_job(subject.nomad, folder))
    for ending in ("versions", "allocations", "evaluations", "deployment", "summary", "scale"):
        with pytest.raises(NotFound):
            subject.nomad.job(f"{folder}/{ending}")
