"""`obsctl demo` as a user types it: a deploy like any other, and traffic that shows what came back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from tests.command import Obsctl
from tests.world import OTHERS_OFF, World

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = "b7ad6b71692033310af7651916cd43dd"
HELLO = "http://127.0.0.1:5050/hello"


def fixed(world: World) -> bool:
    """Whether response-service runs without its bug."""
    return "--fixed" in json.dumps(world.nomad.job("obs-response-service"))


def jobs(world: World) -> set[str]:
    """The demo's jobs that are not stopped."""
    return {
        job["ID"].removeprefix("obs-")
        for job in world.nomad.jobs()
        if not job["Stop"] and job["ID"].endswith(("-service", "traffic"))
    }


DEMO = {"hello-service", "response-service", "traffic"}


@pytest.mark.usefixtures("folder")
class TestUpAndDown:
    def test_up_deploys_the_stack_with_the_demo_though_the_file_does_not_say_so(
        self, obsctl: Obsctl, world: World
    ) -> None:
        ran = obsctl("demo", "up", "--yes")
        assert (ran.code, jobs(world)) == (0, DEMO)
        assert "obs-prometheus" in {job["ID"] for job in world.nomad.jobs()}
        assert not fixed(world)
        assert "The next `obsctl deploy` undoes this, unless obsctl.yaml says demo: {enabled: true}" in ran.out
        assert obsctl("deploy", "--yes").code == 0
        assert jobs(world) == set()

    def test_up_fixed_changes_response_service_alone_and_a_deploy_takes_it_back(
        self, folder: Path, obsctl: Obsctl, world: World
    ) -> None:
        (folder / "obsctl.yaml").write_text(json.dumps({"components": OTHERS_OFF, "demo": {"enabled": True}}))
        assert "undoes" not in obsctl("demo", "up", "--yes").out
        ran = obsctl("demo", "up", "--fixed", "--yes", "--json")
        assert ran.document()["changes"] == ["obs-response-service"]
        assert fixed(world)
        assert "unless obsctl.yaml says demo: {enabled: true, fixed: true}" in ran.err
        assert obsctl("deploy", "--yes").code == 0
        assert not fixed(world)

    def test_what_the_file_says_of_the_bug_stays(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        (folder / "obsctl.yaml").write_text(json.dumps({"components": OTHERS_OFF, "demo": {"fixed": True}}))
        assert obsctl("demo", "up", "--yes").code == 0
        assert fixed(world)

    def test_down_stops_the_demo_and_nothing_else(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        (folder / "obsctl.yaml").write_text(json.dumps({"components": OTHERS_OFF, "demo": {"enabled": True}}))
        obsctl("deploy", "--yes")
        before = {job["ID"] for job in world.nomad.jobs()}
        ran = obsctl("demo", "down", "--yes")
        assert (ran.code, jobs(world)) == (0, set())
        stopped = {job["ID"] for job in world.nomad.jobs() if job["Stop"]}
        assert stopped == {f"obs-{name}" for name in DEMO} < before
        assert "obsctl/obs/rules/demo" not in {entry.key for entry in world.consul.entries("obsctl/obs/")}
        assert "unless obsctl.yaml says demo: {enabled: false}" in ran.out

    def test_nothing_is_changed_without_a_yes(self, obsctl: Obsctl, world: World) -> None:
        ran = obsctl("demo", "up")
        assert ran.code == 1
        assert "add --yes" in ran.err
        assert world.nomad.jobs() == []


class TestTraffic:
    @pytest.fixture
    def http(self, world: World, folder: Path) -> Iterator[responses.RequestsMock]:
        """hello-service is registered in Consul; what it answers is up to the test."""
        world.consul.register("hello-service", instance=world.nomad.place("obs-hello-service"), port=5050)
        with responses.RequestsMock() as mock:
            yield mock

    def test_each_answer_is_shown_with_how_often_it_came_and_a_trace_of_it(
        self, obsctl: Obsctl, http: responses.RequestsMock
    ) -> None:
        for message, trace in (("Hello! ", TRACE), ("Hello! Bello!", OTHER), ("Hello! ", OTHER)):
            http.get(HELLO, json={"message": message}, headers={"traceresponse": f"00-{trace}-b7ad6b7169203331-01"})
        ran = obsctl("demo", "traffic", "--count", "3", "--rate", "100")
        assert ran.code == 0
        assert [line.split() for line in ran.out.splitlines()] == [
            ["ANSWER", "REQUESTS", "OUTCOME", "A", "TRACE", "OF", "IT"],
            ['"Hello!', '"', "2", "ok", TRACE],
            ['"Hello!', 'Bello!"', "1", "ok", OTHER],
            ["3", "requests", "to", "http://127.0.0.1:5050/hello:", "3", "ok,", "0", "failed,", "0", "unreachable"],
        ]

    def test_as_json_it_is_one_document_and_a_failure_makes_it_exit_1(
        self, obsctl: Obsctl, http: responses.RequestsMock
    ) -> None:
        http.get(HELLO, json={"message": "Hello! Bello!"})
        http.get(HELLO, status=503, json={"error": "no instance"})
        ran = obsctl("--json", "demo", "traffic", "-n", "2", "--rate", "100")
        assert ran.code == 1
        assert ran.document() == {
            "schema": "obsctl/demo-traffic/v1",
            "address": "http://127.0.0.1:5050",
            "requests": 2,
            "outcomes": {"ok": 1, "failed": 1, "unreachable": 0},
            "answers": [
                {"answer": "Hello! Bello!", "outcome": "ok", "requests": 1, "trace_id": None},
                {"answer": "no instance", "outcome": "failed", "requests": 1, "trace_id": None},
            ],
        }

    @pytest.mark.usefixtures("folder", "world")
    def test_without_the_demo_it_says_how_to_get_it(self, obsctl: Obsctl) -> None:
        ran = obsctl("demo", "traffic")
        assert ran.code == 1
        assert "Hint: obsctl demo up brings it up" in ran.err
